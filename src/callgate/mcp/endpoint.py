"""The MCP endpoint as an ASGI application: the order of what happens to a request is `MCPEndpoint._serve`.

Host and origin, identity, HTTP method, body, era, then the method's handler. Fail closed: the one broad `except` at
the ASGI edge answers `internal` without a cause. Nothing of a request is logged (names and paths can carry payload).
"""

from collections.abc import MutableMapping
from typing import Any

from callgate.call.identify import bearer, identify
from callgate.errors import Refused
from callgate.mcp import answers, incoming
from callgate.mcp.context import MCPContext
from callgate.mcp.methods import Handlers
from callgate.mcp.reply import BrokenOff, Receive, Reply, Send, send_empty, send_json
from callgate.mcp.sessions import Sessions
from callgate.model.caller import DEFAULT_TENANT, Caller
from callgate.model.oauth import SCOPES
from callgate.web import hosts, paths
from callgate.web.paths import Endpoint
from callgate.wire import eras, headers, jsonrpc

Scope = MutableMapping[str, Any]


class MCPEndpoint:
    """Serves every MCP path of every tenant, and the protected-resource metadata (RFC 9728)."""

    def __init__(self, context: MCPContext) -> None:
        self._context = context
        self.sessions = Sessions(context.session_sealer)
        self._handlers = Handlers(context, self.sessions)

    def owns(self, path: str) -> bool:
        """Whether a path belongs to this application."""
        return paths.parse(path, "", self._context.settings) is not None or paths.metadata_path(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._serve(scope, receive, send)
        except incoming.Rejected as rejected:
            await self._reject(scope, send, rejected, rejected.id)
        except Refused as refused:
            await self._reject(scope, send, refused, b"")
        except BrokenOff:
            return  # an answer that cannot be completed: returning early makes the server cut the connection
        except Exception:
            await self._reject(scope, send, Refused("internal"), b"")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        settings = self._context.settings
        given = incoming.header_map(scope)
        client = scope.get("client")
        given[hosts.PEER] = hosts.address(client[0] if client else "", given.get("x-forwarded-for"), settings.proxies)
        host = given.get("host", "")
        hosts.check_host(host, settings)
        hosts.check_origin(given.get("origin"), host, settings)
        about = paths.metadata_path(scope["path"])
        if about is not None:
            await self._metadata(send, host, about)
            return
        endpoint = paths.parse(scope["path"], host, settings)
        if endpoint is None:
            raise Refused("not_found", "There is no MCP endpoint at this path.")
        caller = await self._identify(given, endpoint)
        method = scope["method"]
        if method == "POST":
            await self._post(given, endpoint, caller, receive, send)
        elif method in ("GET", "DELETE") and eras.era_of(given.get(headers.VERSION, "")) != eras.MODERN:
            await self._legacy_only(method, given, endpoint, caller, receive, send)
        else:
            raise Refused("method_not_allowed", "Use POST on this path.")

    async def _identify(self, given: dict[str, str], endpoint: Endpoint) -> Caller:
        authorization = given.get("authorization")
        if authorization is None and self._context.anonymous is not None:
            return await self._context.anonymous()
        return await identify(self._context.identities, authorization, endpoint.tenant)

    async def _post(
        self, given: dict[str, str], endpoint: Endpoint, caller: Caller, receive: Receive, send: Send
    ) -> None:
        settings = self._context.settings
        body = await incoming.read_body(receive, given, settings.max_body_bytes)
        posted = incoming.read_post(body, given, caller, self.sessions, settings)
        if posted.message.is_response:
            await self._handlers.response(posted, caller)
            await send_empty(send, 202)
        elif posted.message.is_notification:
            await self._handlers.notification(posted, caller)
            await send_empty(send, 202)
        else:
            token = bearer(given["authorization"]) if "authorization" in given else None
            reply = Reply(send, posted.id, posted.method, posted.era, posted.may_stream)
            base = hosts.base_url(given.get("host", ""), settings)
            reply.metadata = paths.metadata_url(base, endpoint.path)
            try:
                await self._handlers.request(posted, given, (caller, token), endpoint, (receive, reply))
            except Refused as refused:
                await reply.refuse(refused)

    async def _legacy_only(
        self, method: str, given: dict[str, str], endpoint: Endpoint, caller: Caller, receive: Receive, send: Send
    ) -> None:  # fmt: skip
        incoming.check_version(given)
        token = given.get(headers.SESSION)
        session = self.sessions.open(token, caller) if token else None
        if method == "DELETE":
            if session is None:
                raise Refused("invalid_request", "DELETE needs an Mcp-Session-Id header.")
            await self._handlers.end_session(session)
            await send_empty(send, 200)
            return
        if "text/event-stream" not in given.get("accept", ""):
            raise Refused("not_acceptable", "Accept must allow text/event-stream.")
        bearer_token = bearer(given["authorization"]) if "authorization" in given else None
        reply = Reply(send, b"null", "", eras.LEGACY)
        await self._handlers.get_stream(session, (caller, bearer_token), endpoint, receive, reply)

    async def _metadata(self, send: Send, host: str, about: str) -> None:
        """RFC 9728: `resource` echoes the spelling asked for; the authorization server is the tenant's own."""
        settings = self._context.settings
        base = hosts.base_url(host, settings)
        endpoint = paths.parse(about, host, settings)
        tenant = endpoint.tenant if endpoint is not None else DEFAULT_TENANT
        fields = {
            "resource": base + about,
            "authorization_servers": [hosts.issuer(base, tenant, host, settings)],
            "scopes_supported": list(SCOPES),
            "resource_name": "Callgate",
            "bearer_methods_supported": ["header"],
        }
        await send_json(send, 200, jsonrpc.encoded(fields))

    async def _reject(self, scope: Scope, send: Send, refused: Refused, id_: bytes) -> None:
        given = {name: value.decode("latin-1") for name, value in scope["headers"]}
        extra = self._challenge(scope, given, refused) if refused.kind.http == 401 else []
        if refused.kind.http == 405:
            extra = [(b"allow", b"POST")]
        version = given.get(b"mcp-protocol-version", "")
        era = eras.MODERN if eras.era_of(version) != eras.LEGACY and version else eras.LEGACY
        status = answers.error_status(refused, era) if id_ else refused.kind.http
        try:
            await send_json(send, status, answers.error_message(id_, refused), extra)
        except (OSError, RuntimeError):
            return  # the answer has begun or the client is gone

    def _challenge(self, scope: Scope, given: dict[bytes, str], refused: Refused) -> list[tuple[bytes, bytes]]:
        """`WWW-Authenticate` with the metadata's absolute URL (RFC 9728, section 5.1)."""
        base = hosts.base_url(given.get(b"host", ""), self._context.settings)
        return [(b"www-authenticate", answers.challenge(paths.metadata_url(base, scope["path"]), refused))]
