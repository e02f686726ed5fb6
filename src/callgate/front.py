"""What stands behind each listener: which application answers a path, and how the pages and SCIM are put together.

Fail closed: a path that nobody owns is `not_found`; hosts and origins are checked before an application of TCP sees a
request.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from callgate.accounts.accounts import Accounts
from callgate.connections.context import Desk
from callgate.connections.routes import routes as connection_routes
from callgate.console.receipts import ROUTES as RECEIPTS
from callgate.control.api import ControlAPI
from callgate.control.permissions import PREFIX
from callgate.control.problem import problem_response
from callgate.control.services import Services
from callgate.credentials.status import Status
from callgate.errors import Refused
from callgate.identity import leaving
from callgate.identity.authorizing import Lifetimes
from callgate.identity.oidc import Directory
from callgate.mcp.endpoint import MCPEndpoint
from callgate.model.caller import Actor
from callgate.model.person import Person
from callgate.net.client import Client
from callgate.oauth.context import Authority
from callgate.oauth.documents import Reach
from callgate.oauth.routes import routes as oauth_routes
from callgate.offboarding.leave import leave
from callgate.scim.endpoint import ScimContext, ScimEndpoint
from callgate.scim.errors import scim_response
from callgate.settings import Settings
from callgate.signin.routes import ROUTES as SIGN_IN
from callgate.store.unit import Unit
from callgate.web import hosts
from callgate.web.site import Pages, Site


def site_of(services: Services, client: Client) -> Site:
    """What pages work with."""

    async def signed_out(tenant: str, provider: str, who: tuple[object, object]) -> None:
        await leaving.signed_out(services.db, tenant, provider, who)
        await services.seen(tenant)

    return Site(
        settings=services.settings, db=services.db, fleet=services.fleet, envelope=services.envelope,
        client=client, directory=Directory(client, services.settings.networks), seen=services.seen,
        signed_out=signed_out,
    )  # fmt: skip


async def pages_of(stack: AsyncExitStack, site: Site, accounts: Accounts) -> Pages:
    """The authorization server and the pages."""
    reach = Reach(site.client, site.settings)
    stack.push_async_callback(reach.close)
    lifetimes = Lifetimes(site.settings.access_token_seconds, site.settings.refresh_token_seconds)
    desk = Desk(accounts, Status(site.db))
    return Pages(site, [*oauth_routes(Authority(reach, lifetimes)), *SIGN_IN, *connection_routes(desk), *RECEIPTS])


@dataclass(frozen=True, slots=True)
class Doors:
    """The applications of one listener; None is not served there."""

    control: ControlAPI | None = None
    mcp: MCPEndpoint | None = None
    pages: Pages | None = None
    scim: ScimEndpoint | None = None


def scim_of(services: Services) -> ScimEndpoint:
    settings = services.settings

    async def off_board(unit: Unit, actor: Actor, person: Person) -> None:
        await leave(unit, actor, person, cause="scim")
        services.accounts.outbox.wake()

    return ScimEndpoint(
        ScimContext(
            settings=settings,
            db=services.db,
            tokens=services.tokens,
            off_board=off_board,
            seen=services.seen,
            tenant_of=partial(hosts.tenant_of_host, settings=settings),
            base_url=partial(hosts.base_url, settings=settings),
        )
    )


class Front:
    """Which application answers a path. `local` is the socket of this machine's operator: no host names there."""

    def __init__(self, services: Services, doors: Doors, *, local: bool = False) -> None:
        self._services = services
        self._control = doors.control
        self._mcp = doors.mcp
        self._pages = doors.pages
        self._local = local
        self._scim = doors.scim

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if self._mcp is not None and self._mcp.owns(path):
            await self._mcp(scope, receive, send)
        elif self._control is not None and path.startswith(f"{PREFIX}/"):
            app = self._control if self._local else Guarded(self._services.settings, self._control, problem_response)
            await app(scope, receive, send)
        elif self._pages is not None and self._pages.owns(path):
            await self._pages(scope, receive, send)
        elif self._scim is not None and self._scim.owns(path):
            await Guarded(self._services.settings, self._scim, scim_response)(scope, receive, send)
        else:
            await self._rest(path)(scope, receive, send)

    def _rest(self, path: str) -> ASGIApp:
        if path == "/healthz":
            return JSONResponse({"ok": True})
        if path == "/readyz":
            ready = self._services.fleet.fresh and self._services.recorder.healthy
            ready = ready and not self._services.stopping.is_set()
            return JSONResponse({"ready": ready}, 200 if ready else 503)
        return problem_response(Refused("not_found", "There is nothing at this path; clients connect to /mcp."))


class Guarded:
    """Host and Origin are checked as on the MCP paths: a web page must not reach the API of its reader's machine."""

    def __init__(self, settings: Settings, app: ASGIApp, refuse: Callable[[Refused], ASGIApp]) -> None:
        self._settings = settings
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = {name: value.decode("latin-1") for name, value in scope["headers"]}
        try:
            host = given.get(b"host", "")
            hosts.check_host(host, self._settings)
            hosts.check_origin(given.get(b"origin"), host, self._settings)
        except Refused as refused:
            await self._refuse(refused)(scope, receive, send)
            return
        await self._app(scope, receive, send)
