"""The SCIM door as an ASGI application: the order of what happens to a request is `ScimEndpoint._serve`.

Path, token, body, protocol, answer. Fail closed: the one broad `except` at the ASGI edge answers `internal` without a
cause. Nothing of a request is logged: paths, filters and bodies name people.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from callgate.errors import Refused
from callgate.identity.provisioning import OffBoard
from callgate.identity.tokens import TokenCache
from callgate.model.caller import SCIM_CLIENT, Actor, Caller
from callgate.scim.errors import scim_response
from callgate.settings import Settings
from callgate.store.engine import Database
from callgate.telemetry.logs import get_logger
from callgate.wire.jsonrpc import check_depth

MAX_BODY = 1024 * 1024
MAX_QUERY = 16 * 1024
_BODY_SECONDS = 30.0
_PATH = re.compile(r"(?P<root>(?:/t/(?P<tenant>[^/]+))?/scim/v2)(?P<rest>/.*)?", re.DOTALL)
_PUBLIC = "/ServiceProviderConfig"  # says nothing of a tenant, and may be read without a token (RFC 7643, section 5)
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ScimContext:
    """What provisioning works with. `off_board` ends all access of a person; `seen` returns when this replica acts on a
    change; `tenant_of` and `base_url` read the Host header."""

    settings: Settings
    db: Database
    tokens: TokenCache
    off_board: OffBoard
    seen: Callable[[str], Awaitable[None]]
    tenant_of: Callable[[str], str | None]
    base_url: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `path` is relative to `base_url`; `actor` is None where no identity is needed."""

    method: str
    base_url: str
    path: str
    query: dict[str, str]
    headers: list[tuple[str, str]]
    body: bytes
    actor: Actor | None


class _Serving(Protocol):
    async def answer(self, asked: Asked) -> Response: ...


class ScimEndpoint:
    """Serves `/scim/v2` and `/t/<tenant>/scim/v2`."""

    def __init__(self, context: ScimContext) -> None:
        self._context = context
        self._loading: asyncio.Task[_Serving] | None = None

    @staticmethod
    def owns(path: str) -> bool:
        """Whether a path belongs to this application."""
        return _PATH.fullmatch(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._serve(Request(scope, receive))
        except Refused as refused:
            response = scim_response(refused)
        except Exception:
            log.exception("scim request failed")
            response = scim_response(Refused("internal", "The gateway failed; its log says where."))
        await response(scope, receive, send)

    async def _serve(self, request: Request) -> Response:
        match = _PATH.fullmatch(request.scope["path"])
        if match is None:
            raise Refused("not_found")
        path = match["rest"] or "/"
        host = request.headers.get("host", "")
        actor = await self._actor(request.headers, path, match["tenant"] or self._context.tenant_of(host))
        query = request.scope["query_string"]
        if len(query) > MAX_QUERY:
            raise Refused("validation", f"The query is longer than {MAX_QUERY} bytes.")
        body = await self._body(request)
        asked = Asked(
            method=request.method,
            base_url=self._context.base_url(host) + match["root"],
            path=path.rstrip("/") or "/",
            query=dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)),
            headers=request.headers.items(),
            body=body,
            actor=actor,
        )
        return await (await self._serving()).answer(asked)

    async def _actor(self, headers: Headers, path: str, tenant: str | None) -> Actor | None:
        """Who asks. Raises `Refused`: auth_required, invalid_token, person_inactive, forbidden."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip()
        if path == _PUBLIC and "authorization" not in headers:
            return None
        if scheme.lower() != "bearer" or not token:
            raise Refused("auth_required", "Send an access token for SCIM as `Authorization: Bearer …`.")
        caller = self._context.tokens.peek(token) or await self._context.tokens.lookup(token)
        return _admitted(caller, tenant)

    async def _body(self, request: Request) -> bytes:
        limit = min(MAX_BODY, self._context.settings.max_body_bytes)
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise Refused("body_too_large", f"The body is larger than {limit} bytes.")
        except (ClientDisconnect, TimeoutError):
            raise Refused("parse_error", "The body broke off.") from None
        check_depth(bytes(body), self._context.settings.max_json_depth)
        return bytes(body)

    async def _serving(self) -> _Serving:
        """The protocol, loaded when it is first asked for: it takes half a second and memory that others need not."""
        if self._loading is None or (self._loading.done() and self._loading.exception() is not None):
            self._loading = asyncio.ensure_future(self._load())
        return await asyncio.shield(self._loading)

    async def _load(self) -> _Serving:
        module: Any = await asyncio.to_thread(import_module, "callgate.scim.serving")
        serving: _Serving = await asyncio.to_thread(module.Serving, self._context)
        return serving


def _admitted(caller: Caller, tenant: str | None) -> Actor:
    if caller.client != SCIM_CLIENT or caller.agent is not None or tenant not in (None, caller.tenant):
        raise Refused(
            "invalid_token",
            "This token is not for SCIM here; issue one with `callgate tokens issue --person EMAIL --client scim`.",
        )
    if "admin" not in caller.roles:
        raise Refused("forbidden", "Provisioning needs the role admin.")
    return Actor(caller.tenant, "person", caller.person, caller.roles)
