"""The control API as an ASGI application. The order of what happens to a request is `_Route._serve`: identity,
permission, path, query, body, idempotency, handler, answer.

Fail closed: an operation without a row in the permission table, or a row without an operation, stops the start. The one
broad `except` at the ASGI edge answers `internal` without a cause. There is no access log: paths can carry names.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from callgate.control import idempotency, resources
from callgate.control.actor import actor_of
from callgate.control.body import check_path, decode, is_empty, read_body, read_query
from callgate.control.openapi import document
from callgate.control.operations import Asked, Operation
from callgate.control.permissions import PREFIX, TABLE, Need, check
from callgate.control.problem import problem_response
from callgate.control.services import Services
from callgate.errors import Refused
from callgate.telemetry.logs import get_logger

_JSON = "application/json"
log = get_logger(__name__)


class ControlAPI:
    """Serves everything under `/api/v1`."""

    def __init__(self, services: Services) -> None:
        operations = resources.all_operations()
        check_table(operations)
        self._router = Router(_routes(operations, services), redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        scope = {**scope, "app": self}  # lets the router raise for what it does not know
        try:
            await self._router(scope, receive, watch)
        except Refused as refused:
            response = problem_response(refused)
        except HTTPException as error:
            response = _routing_error(error)
        except Exception:
            log.exception("control request failed")
            response = problem_response(Refused("internal", "The gateway failed; its log says where."))
        else:
            return
        if not started:
            await response(scope, receive, send)


def check_table(operations: Iterable[Operation]) -> None:
    """Raise `LookupError` unless the operations and the permission table hold the same routes."""
    served = {(one.method, one.path) for one in operations}
    odd = served.symmetric_difference(TABLE)
    if odd:
        raise LookupError(f"routes that differ from the permission table: {sorted(odd)}")


def _routes(operations: list[Operation], services: Services) -> list[Route]:
    by_path: dict[str, dict[str, Operation]] = {}
    for one in operations:
        by_path.setdefault(one.path, {})[one.method] = one
    described = msgspec.json.encode(document(operations))
    return [
        Route(PREFIX + path, _Route(methods, services, described), methods=list(methods))
        for path, methods in by_path.items()
    ]


def _routing_error(error: HTTPException) -> Response:
    if error.status_code == 405:
        response = problem_response(Refused("method_not_allowed"))
        response.headers.update(error.headers or {})
        return response
    return problem_response(Refused("not_found", "There is no such resource in this API; see /api/v1/openapi.json."))


class _Route:
    """All methods of one path; an ASGI application of its own, so that answers may stream."""

    def __init__(self, methods: Mapping[str, Operation], services: Services, described: bytes) -> None:
        self._methods = methods
        self._services = services
        self._described = described

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        method = "GET" if request.method == "HEAD" else request.method
        one = self._methods[method]
        need = TABLE[(one.method, one.path)]
        if need.roles is None:
            response = Response(self._described, media_type=_JSON)
        else:
            response = await self._serve(request, one, need)
        await response(scope, receive, send)

    async def _serve(self, request: Request, one: Operation, need: Need) -> Response:
        actor = await actor_of(request, self._services)
        check(actor, need)
        check_path(one.resource, request.path_params)
        query = read_query(request, one.query)
        settings = self._services.settings
        raw = b""
        if one.body is not None:
            raw = (
                b"{}" if one.body_optional and is_empty(request) else await read_body(request, settings.max_body_bytes)
            )
        body = decode(raw, one.body, settings.max_json_depth) if one.body is not None else None
        asked = Asked(self._services, actor, request.path_params, query, body, request)
        key = request.headers.get("idempotency-key") if one.method == "POST" else None
        if key is None:
            return await _answer(one, asked)
        return await idempotency.once(asked, key, raw, lambda: _answer(one, asked))


async def _answer(one: Operation, asked: Asked[Any, Any]) -> Response:
    given = await one.handler(asked)
    if isinstance(given, Response):
        return given
    if one.status == 204:
        return Response(status_code=204)
    return Response(msgspec.json.encode(given), one.status, {"Cache-Control": "no-store"}, one.media_type)
