"""Receipts of people who left, to read, print and keep."""

import msgspec
from starlette.responses import Response

from callgate.console.access import needing
from callgate.offboarding.receipt import Signed, receipt, signed_receipt
from callgate.store import offboarding
from callgate.web.pages import HEADERS
from callgate.web.site import PageRoute, Visit

_MOST = 200


async def overview(visit: Visit) -> Response:
    """GET /offboardings: who left, the latest first."""
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        found = await offboarding.latest(unit, _MOST)
        receipts = [await receipt(unit, one) for one in found]
    return visit.show("receipts", receipts=receipts)


async def one(visit: Visit) -> Response:
    """GET /offboardings/{id}."""
    signed = await _signed(visit)
    return visit.show("receipt", one=signed.receipt, signature=signed.signature, keys=f"{visit.issuer}/oauth/jwks")


async def document(visit: Visit) -> Response:
    """GET /offboardings/{id}/receipt.json: the receipt with its signature, for the files."""
    body = msgspec.json.format(msgspec.json.encode(await _signed(visit)), indent=2)
    name = f'attachment; filename="receipt-{visit.match["id"]}.json"'
    return Response(body, 200, {**HEADERS, "Content-Disposition": name}, "application/json")


async def _signed(visit: Visit) -> Signed:
    return await signed_receipt(visit.site.db, visit.site.envelope, visit.tenant, visit.match["id"])


LIST, ONE = ("GET", "/offboardings"), ("GET", "/offboardings/{id}")
ROUTES = [
    PageRoute(*LIST, needing(*LIST, overview)),
    PageRoute(*ONE, needing(*ONE, one)),
    PageRoute("GET", "/offboardings/{id}/receipt.json", needing(*ONE, document)),
]
