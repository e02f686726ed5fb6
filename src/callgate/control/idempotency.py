"""Idempotency keys of POST requests: the same key with the same request gives the first answer again, for 24 hours.

Answers are kept sealed, because one may show a token. Fail closed: a key that was used for another request, or whose
first request is still under way, is `conflict`; a refusal is not kept, so that it may be tried again.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from callgate.control.operations import Asked
from callgate.errors import Refused
from callgate.store import idempotency as rows

LIFETIME = 86_400.0
PATTERN = r"^[A-Za-z0-9_.:-]{1,128}$"
_PURPOSE = "idempotency"
_JSON = "application/json"


async def once(asked: Asked[Any, Any], key: str, body: bytes, answer: Callable[[], Awaitable[Response]]) -> Response:
    """The answer to a POST with an `Idempotency-Key`. Raises `Refused`: validation, conflict, what `answer` raises."""
    if re.fullmatch(PATTERN.strip("^$"), key) is None:
        raise Refused("validation", "An Idempotency-Key has 1 to 128 characters of A-Z, a-z, 0-9 and _.:-")
    services, tenant, actor = asked.services, asked.tenant, asked.actor.id
    target = f"{asked.request.url.path}?{asked.request.url.query}\0".encode()
    digest = services.envelope.mac(tenant, _PURPOSE, target + body).hex()
    sealer = services.envelope.sealer(_PURPOSE)
    async with services.db.unit(tenant) as unit:
        known = await rows.claim(unit, actor, key, digest, LIFETIME)
    if known is not None:
        opened = sealer.open(known.body.decode())
        if opened is None:
            raise Refused("conflict", "The first answer to this Idempotency-Key can not be read any more.")
        return Response(opened, known.status, {"Idempotent-Replay": "true"}, _JSON)
    try:
        response = await answer()
    except BaseException:
        async with services.db.unit(tenant) as unit:
            await rows.release(unit, actor, key)
        raise
    async with services.db.unit(tenant) as unit:
        sealed = sealer.seal(bytes(response.body)).encode()
        await rows.finish(unit, actor, key, response.status_code, sealed)
    return response
