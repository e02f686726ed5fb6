"""Client ID Metadata Documents: clients whose `client_id` is the https URL of what they say of themselves
(draft-ietf-oauth-client-id-metadata-document; MCP 2026-07-28, /basic/authorization/client-registration).

Fetched through `net` (no private address, no redirect, no long answer), kept for an hour, used for a day when the host
is away. A copy that an operator pinned is never fetched. Fail closed: a document that does not name its own URL, that
holds a secret, or that is not JSON is refused.
"""

import asyncio
from urllib.parse import urlsplit

import msgspec

from callgate import clock, ids
from callgate.model.oauth import DOCUMENT, ClientFacts, OAuthClient
from callgate.net.client import Client
from callgate.net.errors import EgressError
from callgate.net.exchange import Limits
from callgate.net.policy import TargetPolicy
from callgate.oauth import redirects
from callgate.oauth.faults import OAuthError, invalid_client
from callgate.settings import Settings
from callgate.telemetry.logs import get_logger

FRESH, STALE = 3600.0, 86400.0
_MOST = 64 * 1024
_LIMITS = Limits(connect=5.0, first_byte=5.0, idle=5.0, total=10.0, response_bytes=_MOST)
_AGAIN_GOOD, _AGAIN_BAD = 3600.0, 300.0
log = get_logger(__name__)


def is_document_url(client_id: str) -> bool:
    """Whether a client id is the URL of a document."""
    return client_id.startswith(("https://", "http://"))


def check_url(client_id: str) -> None:
    """Raise `OAuthError("invalid_client")` for a URL that may not be a client id."""
    try:
        parts = urlsplit(client_id)
    except ValueError:
        raise invalid_client("The client id is no valid URL.") from None
    segments = parts.path.split("/")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in redirects.LOOPBACK):
        raise invalid_client("A client id that is a URL must be an https URL.")
    if parts.path in ("", "/") or parts.fragment or "@" in parts.netloc or {".", ".."} & set(segments):
        raise invalid_client("A client id that is a URL needs a path, and no fragment, user or dot segments.")
    if len(client_id) > 2000 or not client_id.isascii() or not client_id.isprintable():
        raise invalid_client("The client id is no valid URL.")


async def fetch(client: Client, settings: Settings, client_id: str) -> ClientFacts:
    """What the document says. Raises `OAuthError("invalid_client")` with the reason."""
    check_url(client_id)
    policy = TargetPolicy(False, settings.networks)
    headers = {"accept": "application/json"}
    try:
        async with await client.request("GET", client_id, headers, policy=policy, limits=_LIMITS) as answer:
            if answer.status != 200:
                raise invalid_client(f"The client's metadata document answered with status {answer.status}.")
            raw = await answer.read(_MOST)
    except EgressError as error:
        raise invalid_client(f"The client's metadata document cannot be fetched: {error}") from None
    return facts_of(client_id, raw)


def facts_of(client_id: str, raw: bytes) -> ClientFacts:
    """A document, read. Raises `OAuthError("invalid_client")`."""
    try:
        document = msgspec.json.decode(raw, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise invalid_client("The client's metadata document is no JSON object.") from None
    if document.get("client_id") != client_id:
        raise invalid_client("The client's metadata document names another client_id than its own URL.")
    if "client_secret" in document:
        raise invalid_client("The client's metadata document holds a secret, which must not be.")
    return read_facts(document)


def read_facts(document: dict[str, object]) -> ClientFacts:
    """Client metadata (RFC 7591, section 2) as far as it matters here. Raises `OAuthError`."""
    uris = document.get("redirect_uris", [])
    if not isinstance(uris, list) or not 1 <= len(uris) <= redirects.MOST:
        raise OAuthError("invalid_redirect_uri", f"redirect_uris must list 1 to {redirects.MOST} URIs.")
    for uri in uris:
        if not isinstance(uri, str):
            raise OAuthError("invalid_redirect_uri", "redirect_uris must list texts.")
        redirects.check(uri)
    method = document.get("token_endpoint_auth_method", "none")
    keys = document.get("jwks")
    return ClientFacts(
        name=_text(document, "client_name"),
        redirect_uris=tuple(uris),
        method="private_key_jwt" if method == "private_key_jwt" else "none",
        uri=_text(document, "client_uri"),
        jwks=msgspec.json.encode(keys).decode() if isinstance(keys, dict) else "",
        jwks_uri=_text(document, "jwks_uri"),
    )


def _text(document: dict[str, object], name: str) -> str:
    """A text of a stranger, fit to be shown."""
    value = document.get(name, "")
    return "".join(char for char in value if char.isprintable())[:200] if isinstance(value, str) else ""


def client_of(tenant: str, client_id: str, facts: ClientFacts) -> OAuthClient:
    """A new client with what its document says."""
    now = clock.now()
    return OAuthClient(ids.new_id("cli"), tenant, client_id, DOCUMENT, facts, created=now, checked=now)


class Reach:
    """Whether documents can be fetched from here, found out by fetching one; asked again now and then."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._can = False
        self._until = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def can(self) -> bool:
        """What the last try said; looking again where that is old. Never waits."""
        chosen = self._settings.client_documents
        if chosen != "auto":
            return chosen == "on"
        if clock.monotonic() >= self._until and self._task is None:
            self._task = asyncio.ensure_future(self._try())
        return self._can

    async def _try(self) -> None:
        try:
            await fetch(self._client, self._settings, self._settings.client_documents_probe)
        except OAuthError as error:
            self._can = False
            log.info("client metadata documents cannot be fetched", reason=error.sentence)
        else:
            self._can = True
        finally:
            self._until = clock.monotonic() + (_AGAIN_GOOD if self._can else _AGAIN_BAD)
            self._task = None

    async def close(self) -> None:
        """Stop a try that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
