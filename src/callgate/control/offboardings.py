"""Resource /offboardings: receipts of people who left."""

from typing import Any

import msgspec

from callgate.control.operations import Asked, Operation, Page, PageQuery, page_of
from callgate.control.views import iso
from callgate.offboarding.receipt import Signed, signed_receipt
from callgate.store import offboarding as rows


class OffboardingView(msgspec.Struct, frozen=True):
    """One off-boarding; its receipt has the rest."""

    id: str
    email: str
    cause: str
    at: str | None


async def list_offboardings(asked: Asked[PageQuery, None]) -> Page[OffboardingView]:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found = await rows.page(unit, asked.query.after, asked.query.limit + 1)
    views = [OffboardingView(one.id, one.email, one.cause, iso(one.at)) for one in found]
    return page_of(views, asked.query.limit, lambda one: one.id)


async def get_offboarding(asked: Asked[Any, None]) -> Signed:
    return await signed_receipt(asked.services.db, asked.services.envelope, asked.tenant, asked.path["id"])


OPERATIONS = (
    Operation("GET", "/offboardings", "Who left.", list_offboardings, Page[OffboardingView], query=PageQuery),
    Operation("GET", "/offboardings/{id}", "A signed receipt.", get_offboarding, Signed),
)
