"""What an upstream's authorization server says and answers: metadata, registration, tokens, revocation.

Every address that an upstream names is one that it chose: private ones are refused, unless they are of the upstream's
own host, which the operator opened, or of a network that the operator opened for all. Nothing but https, but on
loopback.
Fail closed: an answer that is not to the letter is `Refused("connection_failed")`, or `VendorRefused` where the vendor
said no.
Source: RFC 8414, RFC 6749 section 5, RFC 7591, RFC 7009; MCP 2026-07-28, /basic/authorization.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

import msgspec

from callgate.errors import Refused
from callgate.model.upstream import Upstream
from callgate.net.client import Client, ResponseHeaders
from callgate.net.errors import EgressError
from callgate.net.exchange import Limits
from callgate.net.policy import Network, TargetPolicy

MOST = 256 * 1024
_LIMITS = Limits(connect=5.0, first_byte=15.0, idle=15.0, total=25.0, response_bytes=MOST)
_FORM = "application/x-www-form-urlencoded"
_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "callgate", "version": "1"}}
_LATER = ("temporarily_unavailable", "server_error", "slow_down")
_TOKEN = re.compile(r"[\x21-\x7e]+")  # RFC 6749, appendix A.12, without the space, which RFC 6750 does not have
_LONGEST = 10**10
_ASKED = tuple(
    msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    for method, params in (("tools/list", {}), ("initialize", _HELLO))
)


class Server(msgspec.Struct, frozen=True):
    """An authorization server's metadata (RFC 8414, section 2), as far as it matters here."""

    issuer: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    registration_endpoint: str = ""
    revocation_endpoint: str = ""
    scopes_supported: tuple[str, ...] = ()
    code_challenge_methods_supported: tuple[str, ...] = ()
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    grant_types_supported: tuple[str, ...] = ("authorization_code",)
    client_id_metadata_document_supported: bool = False
    authorization_response_iss_parameter_supported: bool = False


class VendorRefused(Exception):
    """The authorization server said no, with a code of RFC 6749, section 5.2."""

    def __init__(self, error: str, status: int) -> None:
        super().__init__(error)
        self.error = error
        self.status = status

    @property
    def of_us(self) -> bool:
        """Whether it speaks of the gateway as a client, and not of what a person granted."""
        return self.error in ("invalid_client", "unauthorized_client")


class Vendor:
    """Requests to the authorization server of one upstream."""

    def __init__(self, client: Client, networks: tuple[Network, ...], upstream: Upstream) -> None:
        self._client = client
        self._networks = networks
        self._upstream = upstream
        self._host = urlsplit(upstream.url or "").hostname

    def policy(self, url: str) -> TargetPolicy:
        """Which addresses this URL may lead to."""
        own = split(url).hostname == self._host
        return TargetPolicy(own and self._upstream.allow_private, self._networks)

    async def get(self, url: str) -> tuple[int, bytes]:
        """Status and body. Raises `Refused("connection_failed")`."""
        status, _, body = await self._request("GET", url, {"accept": "application/json"})
        return status, body

    async def challenge(self, url: str) -> str:
        """What an MCP endpoint says to a request without a credential: the `WWW-Authenticate` of its 401, "" without
        one. Some let a handshake through and ask later, so a list is asked for first; the old transport opens a stream.
        """
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        asked = [("GET", b"")] if self._upstream.kind == "sse" else [("POST", body) for body in _ASKED]
        for method, body in asked:
            try:
                async with await self._client.request(
                    method, url, headers, body, policy=self.policy(url), limits=_LIMITS
                ) as answer:
                    if answer.status in (401, 403):
                        return answer.headers.get("www-authenticate", "")
            except EgressError as error:
                raise Refused("connection_failed", f"The server cannot be reached: {error}") from None
        return ""

    async def post_json(self, url: str, document: Mapping[str, object]) -> tuple[int, bytes]:
        headers = {"content-type": "application/json", "accept": "application/json"}
        status, _, body = await self._request("POST", url, headers, msgspec.json.encode(document))
        return status, body

    async def token(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """A token response (RFC 6749, section 5.1). Raises `VendorRefused`, `Refused("connection_failed")`."""
        return self.bearer(await self.answer(url, form, headers))

    async def answer(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """What a token endpoint answers, of whatever kind. Raises as `token`."""
        given = {"content-type": _FORM, "accept": "application/json", **headers}
        status, _, body = await self._request("POST", url, given, urlencode(form).encode())
        found = object_of(body)
        if status >= 500 or status == 429:
            raise Refused("connection_failed", f"The authorization server answered with status {status}.")
        error = found.get("error")
        if error in _LATER or (error is None and status not in (200, 400, 401)):  # a page of something in between
            raise Refused("connection_failed", f"The authorization server answered with status {status}.")
        if status != 200 or error is not None:
            raise VendorRefused(_code(error), status)
        return found

    @staticmethod
    def bearer(found: dict[str, Any]) -> dict[str, Any]:
        """An answer that holds a bearer token. Raises `Refused("connection_failed")`."""
        access = found.get("access_token")
        fits = isinstance(access, str) and _TOKEN.fullmatch(access) is not None
        if not fits or str(found.get("token_type", "")).lower() != "bearer":
            raise Refused("connection_failed", "The authorization server's answer holds no bearer token.")
        return found

    async def revoke(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> int:
        """Ask a vendor to revoke a token (RFC 7009); the status. Raises `Refused("connection_failed")`."""
        given = {"content-type": _FORM, "accept": "application/json", **headers}
        status, _, _ = await self._request("POST", url, given, urlencode(form).encode())
        return status

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, ResponseHeaders, bytes]:
        check_url(url)
        try:
            async with await self._client.request(
                method, url, headers, body, policy=self.policy(url), limits=_LIMITS
            ) as answer:
                return answer.status, answer.headers, await answer.read(MOST)
        except EgressError as error:
            raise Refused("connection_failed", f"The authorization server cannot be reached: {error}") from None


def check_url(url: str) -> None:
    """Raise `Refused("connection_failed")` for an endpoint that is neither https nor on loopback."""
    parts = split(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _loopback(parts.hostname or "")):
        raise Refused("connection_failed", "An endpoint of the authorization server is not an https URL.")


def split(url: str) -> SplitResult:
    """The parts of a URL that a vendor chose. Raises `Refused("connection_failed")` for what is none."""
    try:
        return urlsplit(url)
    except ValueError:
        raise Refused("connection_failed", "An address that the vendor names is not a URL.") from None


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def seconds(said: object) -> float | None:
    """A number of seconds that a vendor gives, as text too; None for none, and for what cannot be one."""
    if isinstance(said, str) and said.isdecimal() and said.isascii() and len(said) <= 10:
        said = int(said)
    return float(said) if isinstance(said, int | float) and 0 < said <= _LONGEST else None


def object_of(raw: bytes) -> dict[str, Any]:
    """A JSON object, {} for anything else."""
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _code(error: object) -> str:
    """A vendor's error code, if it is one: other words of a vendor are shown to nobody."""
    known = isinstance(error, str) and len(error) <= 64 and error.replace("_", "").isalnum() and error.isascii()
    return str(error) if known else "invalid_response"
