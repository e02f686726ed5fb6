"""One request to a page: whose tenant, which browser, who is signed in; and the table of pages.

Fail closed: an unknown host or a foreign origin is refused; a form needs the mark of the browser that it was shown to
(cross-site request forgery); the one broad `except` of the pages answers without a cause.
"""

import hmac
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from callgate import clock, ids
from callgate.credentials.envelope import Envelope
from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.identity import browser
from callgate.identity.oidc import Directory
from callgate.model.caller import DEFAULT_TENANT
from callgate.model.person import Person
from callgate.model.signin import BrowserSession
from callgate.net.client import Client
from callgate.settings import Settings
from callgate.store import signin
from callgate.store.engine import Database
from callgate.telemetry.logs import get_logger
from callgate.web import cookies, forms, hosts, pages

MARK = "mark"  # the field of a form that says which browser it was shown to
_VISIT_SECONDS = 3600.0
_TENANT = re.compile(r"/t/(?P<tenant>[^/]+)(?P<rest>/.*)?")
# RFC 8414, section 3.1: the issuer's path after the well-known one; clients also ask for that of an MCP path
_INSERTED = re.compile(
    r"(?P<rest>/\.well-known/(?:oauth-authorization-server|openid-configuration))"
    r"(?:/t/(?P<tenant>[^/]+))?(?:/mcp(?:/u/[^/]+)?)?/?"
)
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages work with. `seen` returns when this replica acts on a change that was just made; `signed_out` is
    told (tenant, provider's row id, (its session, its subject)) when a provider says that somebody signed out."""

    settings: Settings
    db: Database
    fleet: Fleet
    envelope: Envelope
    client: Client
    directory: Directory
    seen: Callable[[str], Awaitable[None]]
    signed_out: Callable[[str, str, tuple[object, object]], Awaitable[None]]


class SignInFirst(Exception):
    """Somebody has to sign in, or to prove anew who they are: becomes the way to `url`."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


@dataclass(slots=True)
class Visit:
    """One request. `base` is the gateway's address as this browser spells it, `prefix` the tenant's path."""

    site: Site
    request: Request
    tenant: str
    prefix: str
    base: str
    match: Mapping[str, str]
    address: str
    session: BrowserSession | None = None
    person: Person | None = None
    _visit: str = field(default="", repr=False)
    _fresh_visit: bool = False

    @property
    def secure(self) -> bool:
        return self.base.startswith("https://")

    @property
    def issuer(self) -> str:
        """The tenant's issuer: what its authorization server calls itself."""
        return self.base + self.prefix

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters. Raises `Refused("validation")`."""
        return forms.fields(self.request.url.query)

    def cookie(self, name: str) -> str | None:
        return cookies.read(self.request.cookies, name, self.secure)

    def path(self, rest: str) -> str:
        """A path of this tenant."""
        return self.prefix + rest

    def signed_in(self, back: str, *, fresh: bool = False) -> Person:
        """Who is signed in; `fresh`: and proved it a moment ago. Raises `SignInFirst`, which comes back to `back`."""
        if self.person is None or self.session is None:
            raise SignInFirst(self.sign_in_url(back))
        if fresh and not browser.is_fresh(self.session):
            raise SignInFirst(self.sign_in_url(back, again=True))
        return self.person

    def sign_in_url(self, back: str, *, again: bool = False) -> str:
        """The sign-in page, which goes on to `back`; `again`: also for somebody who is signed in."""
        return f"{self.path('/signin')}?next={quote(back, safe='')}{'&again=yes' if again else ''}"

    @property
    def mark(self) -> str:
        """What proves that a form was shown to this browser."""
        return self._mark(self.cookie(cookies.SESSION) if self.session is not None else self.visit)

    def _mark(self, of: str | None) -> str:
        return self.site.envelope.mac(self.tenant, "form", (of or "").encode()).hex()

    @property
    def visit(self) -> str:
        """The random name of a browser that is not signed in."""
        if not self._visit:
            self._visit = self.cookie(cookies.VISIT) or ""
        if not self._visit:
            self._visit, self._fresh_visit = clock.random_urlsafe(24), True
        return self._visit

    def hidden(self, text: str) -> str:
        """A keyed hash: what is counted by a text of a stranger keeps no text of a stranger."""
        return self.site.envelope.mac(self.tenant, "hidden", text.encode("utf-8", "replace")).hex()

    async def form(self) -> dict[str, str]:
        """The posted form. Raises `Refused`: forbidden (of another browser or site), validation, body_too_large."""
        given = await forms.read_form(self.request)
        if self.request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refused("forbidden", "This form was sent by another site; open the page here and try again.")
        known = self.cookie(cookies.SESSION) if self.session is not None else self.cookie(cookies.VISIT)
        if not known or not hmac.compare_digest(given.pop(MARK, "").encode(), self._mark(known).encode()):
            raise Refused("forbidden", "This form is out of date; open the page again and send it from there.")
        return given

    async def json(self) -> bytes:
        """What a script of our pages sent. Another site's scripts cannot send this type unasked.

        Raises `Refused`: forbidden, unsupported_media_type, body_too_large.
        """
        if self.request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused("unsupported_media_type")
        if self.request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise Refused("forbidden")
        return await forms.read_body(self.request)

    def show(self, template: str, status: int = 200, /, **values: object) -> Response:
        """A page with the mark that its forms need."""
        response = pages.page(template, status, mark=self.mark, prefix=self.prefix, **values)
        if self._fresh_visit:
            cookies.write(response, cookies.VISIT, self._visit, secure=self.secure, seconds=_VISIT_SECONDS)
        return response

    def sealed(self, purpose: str, value: msgspec.Struct) -> str:
        """A value that comes back through the browser, unread and unchanged."""
        return self.site.envelope.sealer(purpose).seal(msgspec.json.encode(value))

    def next_of(self, given: str | None) -> str:
        """Where to go on to after a sign-in: a path of ours, or the start."""
        own = given is not None and re.fullmatch(r"/(?![/\\])[\x21-\x7e]*", given) is not None and "\\" not in given
        return given if own and given is not None else self.path("/account")


Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class PageRoute:
    """One path: literal, or with `{name}` for one segment. `machine`: asked by programs without a browser's session;
    `script`: asked by our own pages' scripts. To both, refusals are JSON."""

    method: str
    path: str
    handler: Handler
    machine: bool = False
    script: bool = False

    def pattern(self) -> re.Pattern[str]:
        parts = re.split(r"\{(\w+)\}", self.path)
        built = "".join(f"(?P<{part}>[^/]+)" if number % 2 else re.escape(part) for number, part in enumerate(parts))
        return re.compile(built)


class Pages:
    """Serves the table of pages for every tenant, and the files that they load."""

    def __init__(self, site: Site, routes: Iterable[PageRoute]) -> None:
        self._site = site
        self._routes = [(route.pattern(), route) for route in routes]

    def owns(self, path: str) -> bool:
        """Whether a path is one of these."""
        rest = split(path)[1]
        return path.startswith("/static/") or any(pattern.fullmatch(rest) for pattern, _ in self._routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        machine = any(
            (route.machine or route.script) and pattern.fullmatch(split(scope["path"])[1])
            for pattern, route in self._routes
        )
        try:
            response = await self._serve(request)
        except Refused as refused:
            response = refusal(refused, machine)
        except SignInFirst as first:
            response = pages.redirect(first.url)
        except Exception:  # the ASGI edge of the pages (house rule 2)
            log.exception("page failed")
            response = refusal(Refused("internal", "The gateway failed; its log says where."), machine)
        await response(scope, receive, send)

    async def _serve(self, request: Request) -> Response:
        settings = self._site.settings
        host = request.headers.get("host", "")
        hosts.check_host(host, settings)
        path = request.scope["path"]
        if "\x00" in path:  # no name holds one, and the store does not take it
            raise Refused("not_found")
        if path.startswith("/static/"):
            found = pages.static(path.removeprefix("/static/"))
            return found or refusal(Refused("not_found"), machine=True)
        named, rest = split(path)
        tenant = named or hosts.tenant_of_host(host, settings) or DEFAULT_TENANT
        if not ids.valid_slug(tenant):
            raise Refused("not_found")
        self._site.fleet.view(tenant)  # refuses a tenant that does not exist
        route, match = self._route(request.method, rest)
        if request.method != "GET" and not route.machine:
            hosts.check_origin(request.headers.get("origin"), host, settings)
        base = hosts.base_url(host, settings)
        client = request.client.host if request.client else ""
        address = hosts.address(client, request.headers.get("x-forwarded-for"), settings.proxies)
        prefix = hosts.issuer(base, tenant, host, settings).removeprefix(base)
        visit = Visit(self._site, request, tenant, prefix, base, match, address)
        if not route.machine:
            await _sign_in(visit)
        return await route.handler(visit)

    def _route(self, method: str, path: str) -> tuple[PageRoute, Mapping[str, str]]:
        found = False
        for pattern, route in self._routes:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if route.method == ("GET" if method == "HEAD" else method):
                return route, match.groupdict()
            found = True
        raise Refused("method_not_allowed" if found else "not_found")


def split(path: str) -> tuple[str | None, str]:
    """The tenant that a path names, and the rest of it."""
    match = _INSERTED.fullmatch(path) or _TENANT.fullmatch(path)
    return (None, path) if match is None else (match["tenant"], match["rest"] or "/")


async def _sign_in(visit: Visit) -> None:
    clear = visit.cookie(cookies.SESSION)
    if not clear:
        return
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        found = await browser.find(unit, clear)
    if found is None:
        return
    visit.session, visit.person = found
    if browser.is_stale(visit.session):
        async with visit.site.db.unit(visit.tenant) as unit:
            await signin.touch_session(unit, visit.session.hash, clock.now())


def refusal(refused: Refused, machine: bool) -> Response:
    """A refusal as a page, or as JSON for programs (RFC 6749, section 5.2, has the shape)."""
    status = refused.kind.http if refused.kind.http >= 400 else 409
    if machine:
        body = {"error": "invalid_request", "error_description": refused.sentence}
        return JSONResponse(body, status, {"Cache-Control": "no-store"})
    return pages.sorry(status, "This did not work", refused.sentence)
