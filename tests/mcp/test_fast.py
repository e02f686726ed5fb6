"""The fast path: which calls take it, and that it ends them as the ordinary edge would."""

import asyncio
from typing import Any

import pytest

from callgate.mcp import fast, methods
from callgate.mcp.drive import Drive
from tests.mcp.lab import Lab, Upstream
from tests.upstreams.scripted import Answering, Asked

AUTH: dict[str, dict[str, str]] = {
    "none": {"mode": "none"},
    "shared": {"mode": "shared", "secret": "right"},
    "basic": {"mode": "shared", "kind": "basic", "secret": "who:right"},
    "own": {"mode": "own_token"},
}
SENT = {"none": None, "shared": "Bearer right", "basic": "Basic d2hvOnJpZ2h0", "own": "Bearer right"}
pytestmark = pytest.mark.usefixtures("clients")
REFUSED = {"shared": "credential_refused", "own": "connection_required"}


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which calls had a driver of their own: from the `edge`, or `handed over`."""
    found: list[str] = []

    def noting(word: str) -> Any:
        def made(*args: Any) -> Drive:
            found.append(word)
            return Drive(*args)

        return made

    monkeypatch.setattr(methods, "Drive", noting("edge"))
    monkeypatch.setattr(fast, "Drive", noting("handed over"))
    return found


async def guard(lab: Lab, upstream: Upstream, how: str) -> None:
    """Make it an upstream that takes this credential."""
    if how != "none":
        await lab.operator("patch", f"/upstreams/{upstream.name}", {"auth": AUTH[how]})
    if how == "own":
        path = f"/connections/{upstream.name}/token"
        client = lab.run.operator
        await asyncio.to_thread(client.put, path, {"token": "right"}, person="ana@acme.test")


async def code(lab: Lab, upstream: Upstream) -> str | None:
    """How a call ends: the code of its refusal, None for a result."""
    message = await (await lab.client().modern("tools/call", {"name": upstream.tool})).last()
    found: str | None = message["result"].get("_meta", {}).get("callgate/decision", {}).get("code")
    return found


@pytest.mark.parametrize("how", AUTH)
async def test_a_warm_call_takes_it_with_any_credential_that_is_at_hand(
    lab: Lab, ordinary: list[str], how: str
) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {"content": []})

    async with asyncio.timeout(60), lab.upstream(call, modern=True) as upstream:
        await guard(lab, upstream, how)
        assert await code(lab, upstream) is None
        ordinary.clear()
        for _ in range(10):
            assert await code(lab, upstream) is None
        assert ordinary == []
        seen = [asked.headers.get("authorization") for asked in upstream.server.seen("tools/call")]
        assert seen == [SENT[how]] * 11
        assert await lab.outcomes(upstream) == [("result", "")] * 11


@pytest.mark.parametrize("how", REFUSED)
async def test_a_credential_that_is_refused_ends_the_call_as_it_does_elsewhere(
    lab: Lab, ordinary: list[str], how: str
) -> None:
    good = True

    async def call(asked: Asked, answering: Answering) -> None:
        if good:
            await answering.result(asked, {"content": []})
        else:
            await answering.whole(b"", 401, "text/plain", 'WWW-Authenticate: Bearer error="invalid_token"')

    async with asyncio.timeout(60), lab.upstream(call, modern=True) as upstream:
        await guard(lab, upstream, how)
        assert await code(lab, upstream) is None
        good = False
        ordinary.clear()
        assert await code(lab, upstream) == REFUSED[how]
        assert ordinary == ["handed over"], "to look for another credential is not of the fast path"
        assert len(upstream.server.seen("tools/call")) == 2, "there is none, so it was asked once"


async def test_a_person_without_a_credential_is_told_so(lab: Lab, ordinary: list[str]) -> None:
    async def call(asked: Asked, answering: Answering) -> None:
        await answering.result(asked, {"content": []})

    async with asyncio.timeout(60), lab.upstream(call, modern=True) as upstream:
        await guard(lab, upstream, "own")
        assert await code(lab, upstream) is None
        await asyncio.to_thread(lab.run.operator.delete, f"/connections/{upstream.name}", person="ana@acme.test")
        assert await code(lab, upstream) == "connection_required"
        assert len(upstream.server.seen("tools/call")) == 1
