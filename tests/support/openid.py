"""A real OpenID provider (npm `oidc-provider`), and an MCP server that takes its access tokens."""

import hmac
import json
import socket
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from callgate.cli import demo_server
from tests.peers.environments import SERVERS, node, package
from tests.peers.processes import Process
from tests.support.robot import Page, Robot
from tests.support.shop import Shop, open_shop


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Provider:
    """A running provider."""

    def __init__(self, issuer: str, process: Process) -> None:
        self.issuer = issuer
        self.process = process

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = Robot(self.issuer).get("/counts").json
        return found

    def keys(self) -> KeySet:
        return KeySet.import_key_set(Robot(self.issuer).get("/jwks").json)

    def sign_in(self, robot: Robot, page: Page, login: str, *, follow: bool = True) -> Page:
        """Fill in the provider's form, where it shows one."""
        if urlsplit(page.url).netloc == urlsplit(self.issuer).netloc and "<form" in page.text:
            return robot.submit(page, login=login, follow=follow)
        return page


def hs256(claims: dict[str, Any], key: bytes) -> str:
    """A token that is signed with what everybody knows, a public key, as if it were a secret (RFC 8725, 2.1)."""

    def text(value: bytes) -> str:
        return urlsafe_b64encode(value).decode().rstrip("=")

    signed = f"{text(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{text(json.dumps(claims).encode())}"
    return f"{signed}.{text(hmac.digest(key, signed.encode(), 'sha256'))}"


@contextmanager
def open_provider(accounts: dict[str, dict[str, Any]], port: int = 0, **more: Any) -> Iterator[Provider]:
    """A provider until the end of the block. `accounts`: login → claims; `more`: clients, scopes, accessSeconds."""
    port = port or free_port()
    issuer = f"http://127.0.0.1:{port}"
    settings = {"issuer": issuer, "port": port, "accounts": accounts, **more}
    folder = package("oidc-provider").parent.parent
    command: list[str | Path] = [node(), SERVERS / "openid_provider.mjs", json.dumps(settings), folder]
    with Process(command) as process:
        process.wait_line(lambda line: line.startswith("ready "))
        yield Provider(issuer, process)


def subject_of(authorization: str | None, keys: KeySet, audience: str) -> str | None:
    """Whom a token speaks of, None for one that is not good at this server."""
    try:
        claims = jwt.decode((authorization or "").removeprefix("Bearer "), keys).claims
        jwt.JWTClaimsRegistry(aud={"essential": True, "value": audience}).validate(claims)
    except (JoseError, ValueError):
        return None
    return str(claims["sub"])


class Guarded(Shop):
    """The demo shop behind OAuth: every call needs a token of the provider for this server; it notes who called."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider
        self.keys = provider.keys()
        self.subjects: list[str] = []
        self.refused = 0
        self.scope_needed = ""
        self.presented: set[str] = set()
        self.distrusted: frozenset[str] = frozenset()
        self.metadata = {
            "resource": self.url, "authorization_servers": [provider.issuer],
            "scopes_supported": ["openid", "offline_access"],
        }  # fmt: skip

    def subject(self, authorization: str | None) -> str | None:
        """Whom a token speaks of, None for one that is not good here."""
        return subject_of(authorization, self.keys, self.url)

    def distrust(self) -> None:
        """Take no token any more that was presented so far."""
        self.distrusted = frozenset(self.presented)

    def answer_to(self, body: bytes, authorization: str | None) -> tuple[int, bytes, dict[str, str]]:
        who = self.subject(authorization)
        origin = self.url.removesuffix("/mcp")
        about = f'resource_metadata="{origin}/.well-known/oauth-protected-resource/mcp"'
        if who is None or authorization in self.distrusted:
            if authorization is not None:
                self.refused += 1
            return 401, b"", {"WWW-Authenticate": f"Bearer {about}"}
        self.presented.add(str(authorization))
        status, answer = self.answer(body)
        message = json.loads(body)
        if message.get("method") == "tools/call":
            self.subjects.append(who)
            found = json.loads(answer)
            if "result" in found:
                found["result"]["content"] = [{"type": "text", "text": f"for {who}"}]
            answer = json.dumps(found).encode()
        return status, answer, {}


@contextmanager
def open_guarded(provider: Provider) -> Iterator[Guarded]:
    """The guarded shop until the end of the block."""
    with open_shop(lambda: Guarded(provider)) as found:
        assert isinstance(found, Guarded)
        yield found


TOOLS = demo_server.TOOLS
