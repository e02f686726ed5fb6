"""What an upstream and its authorization server say of themselves, where it must not be believed."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.running import Running, running
from tests.support.signing_in import account
from tests.upstreams.scripted import Answering, Asked, Scripted

_numbers = itertools.count()


class Odd:
    """An upstream that is its own authorization server; `about` changes what the one or the other says."""

    def __init__(self, resource: dict[str, Any], server: dict[str, Any]) -> None:
        self.resource, self.about = resource, server
        self.server = Scripted(self)

    @property
    def origin(self) -> str:
        return self.server.url.removesuffix("/mcp")

    async def __call__(self, asked: Asked, answering: Answering) -> None:
        if "oauth-protected-resource" in asked.path and self.resource.get("resource", "") is None:
            await answering.whole(b"", 404)  # of the first revision with OAuth: nothing of the kind
        elif "oauth-protected-resource" in asked.path:
            found = {"resource": self.server.url, "authorization_servers": [self.origin], **self.resource}
            await answering.whole(json.dumps(found).encode())
        elif "oauth-authorization-server" in asked.path:
            found = {
                "issuer": self.origin, "authorization_endpoint": f"{self.origin}/authorize",
                "token_endpoint": f"{self.origin}/token", "code_challenge_methods_supported": ["S256"], **self.about,
            }  # fmt: skip
            await answering.whole(b"" if self.about.get("issuer", "") is None else json.dumps(found).encode())
        else:
            await answering.whole(b"", 401 if asked.path == "/mcp" else 404)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("odd") / "data") as found:
        yield found


async def page_of(run: Running, resource: dict[str, Any], server: dict[str, Any], **auth: str) -> str:
    """The words of the page on which one connects to it."""
    odd, name = Odd(resource, server), f"odd{next(_numbers)}"

    def looked() -> str:
        spec = {"name": name, "url": odd.server.url, "allow_private": True, "auth": {"mode": "on_behalf_of", **auth}}
        run.operator.post("/upstreams", spec)
        return account(run, f"{name}@acme.test").get(f"/connections/{name}").words

    async with odd.server.running():
        return await asyncio.to_thread(looked)


async def test_documents_that_fit_are_taken(run: Running) -> None:
    assert "You will sign in at 127.0.0.1" in await page_of(run, {}, {})


async def test_an_upstream_of_the_first_revision_is_its_own_authorization_server(run: Running) -> None:
    """2025-03-26, authorization, "Server Metadata Discovery": without metadata, at the default paths."""
    assert "You will sign in at 127.0.0.1" in await page_of(run, {"resource": None}, {})
    assert "You will sign in at 127.0.0.1" in await page_of(run, {"resource": None}, {"issuer": None})
    other = await page_of(run, {"resource": None}, {"issuer": "https://other.test"})
    assert "calls itself by another issuer" in other


async def test_an_issuer_that_an_admin_entered_is_the_only_one(run: Running) -> None:
    words = await page_of(run, {}, {}, issuer="https://entered.test", client_id="c", secret="s")
    assert "does not take tokens of the issuer that an admin entered" in words


@pytest.mark.parametrize(
    "page",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://127.0.0.1/authorize",
        "https://good.test\\@evil.test/authorize",
        "https://good.test@evil.test/authorize",
        "https://evil.test/\r\nX-Injected: yes",
        "//evil.test/authorize",
        "authorize",
    ],
)
async def test_a_browser_is_sent_to_an_honest_address_alone(run: Running, page: str) -> None:
    words = await page_of(run, {}, {"authorization_endpoint": page})
    assert "names a sign-in page that is no https address" in words
    assert "You will sign in at" not in words


@pytest.mark.parametrize(
    ("resource", "server", "words"),
    [
        ({"resource": "https://other.test/mcp"}, {}, "speaks of another resource"),
        ({}, {"issuer": "https://other.test"}, "calls itself by another issuer"),
        ({}, {"code_challenge_methods_supported": ["plain"]}, "does not say that it knows PKCE"),
        ({}, {"token_endpoint": 7}, "publishes no metadata"),
        ({"authorization_servers": ["https://["]}, {}, "is not a URL"),
    ],
)
async def test_what_does_not_fit_is_said(
    run: Running, resource: dict[str, Any], server: dict[str, Any], words: str
) -> None:
    found = await page_of(run, resource, server)
    assert words in found
    assert "You will sign in at" not in found
