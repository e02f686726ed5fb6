"""Somebody with accounts at fifteen upstreams leaves while everybody calls: one vendor is down, one cannot revoke, one
gateway of three is killed. Nothing of theirs reaches an upstream after the bound; nobody else notices; the receipt is
complete in the end."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from email.message import Message
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.peers.gateway import Gateway, replicas
from tests.peers.raw_client import RawClient
from tests.support.load import Load
from tests.support.postgres import OWNER, Cluster
from tests.support.robot import Robot
from tests.support.shop import Shop, open_shop
from tests.support.signing_in import enrolled
from tests.support.website import Answer, Website

pytestmark = pytest.mark.postgres
UPSTREAMS = 15
BOUND = 2.0
LEAVER, STAYER = "leaver@acme.test", "stayer@acme.test"
METADATA = "/.well-known/oauth-authorization-server"


class Vendor(Website):
    """A small authorization server: registers, signs everybody in at once, gives opaque tokens, revokes.

    It is ours, because a real provider answers a revocation in only one way: this one can be down, or have none."""

    def __init__(self) -> None:
        super().__init__()
        self.revoked: list[str] = []
        self.down = False
        self.given = 0

    def answer(self, path: str, headers: Message, body: bytes) -> Answer:
        del headers
        page, _, query = path.partition("?")
        if page.startswith(METADATA):
            return _json(200, self.metadata(page.removeprefix(METADATA)))
        if page.endswith("/authorize"):
            asked = {key: values[0] for key, values in parse_qs(query).items()}
            return 302, b"", {"Location": f"{asked['redirect_uri']}?code=c{asked['state']}&state={asked['state']}"}
        if page.endswith("/register"):
            return _json(201, {**json.loads(body), "client_id": "callgate"})
        if page.endswith("/token"):
            self.given += 1
            token = {"access_token": f"at-{self.given}", "refresh_token": f"rt-{self.given}"}
            return _json(200, {**token, "token_type": "Bearer", "expires_in": 3600})
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        if page.startswith("/0/") and self.down:
            return _json(503, {})
        self.revoked.append(f"{page.split('/')[1]} {form['token'][:3]}")
        return _json(200, {})

    def metadata(self, path: str) -> dict[str, Any]:
        issuer = f"{self.url}{path}"
        found = {
            "issuer": issuer, "authorization_endpoint": f"{issuer}/authorize", "token_endpoint": f"{issuer}/token",
            "registration_endpoint": f"{issuer}/register", "revocation_endpoint": f"{issuer}/revoke",
            "code_challenge_methods_supported": ["S256"], "token_endpoint_auth_methods_supported": ["none"],
        }  # fmt: skip
        if path == "/1":  # this one cannot revoke
            del found["revocation_endpoint"]
        return found


class Member(Shop):
    """One of the upstreams: takes any token of its vendor, and notes when somebody calls with which."""

    def __init__(self, vendor: Vendor, number: int) -> None:
        super().__init__()
        self.calls_at: list[tuple[float, str]] = []
        self.metadata = {"resource": self.url, "authorization_servers": [f"{vendor.url}/{number}"]}

    def answer_to(self, body: bytes, authorization: str | None) -> tuple[int, bytes, dict[str, str]]:
        if authorization is None or not authorization.startswith("Bearer at-"):
            return 401, b"", {"WWW-Authenticate": "Bearer"}
        if json.loads(body).get("method") == "tools/call":
            self.calls_at.append((time.monotonic(), authorization))
        return (*self.answer(body), {})


def _json(status: int, value: object) -> Answer:
    return status, json.dumps(value).encode(), {"Content-Type": "application/json"}


class Lab:
    def __init__(self, gateways: list[Gateway], vendor: Vendor, members: list[Member]) -> None:
        self.gateways = gateways
        self.vendor = vendor
        self.members = members

    def person(self, email: str) -> tuple[Robot, str]:
        """Somebody with accounts at every upstream, and an access token."""
        first = self.gateways[0]
        first.cli("people", "add", email)
        robot = enrolled(first.url, json.loads(first.cli("people", "invite", email, "--json"))["url"])
        for number in range(len(self.members)):
            page = robot.submit(robot.get(f"/connections/up{number}"))
            assert "is connected" in page.words, page.words
        return robot, first.token(email)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, pg_cluster: Cluster) -> Iterator[Lab]:
    pg_cluster.sql(f"CREATE DATABASE journey_offboarding OWNER {OWNER}")
    with ExitStack() as stack:
        vendor = stack.enter_context(Vendor())
        members: list[Member] = []
        for number in range(UPSTREAMS):
            shop = stack.enter_context(open_shop(lambda number=number: Member(vendor, number)))  # type: ignore[misc]
            assert isinstance(shop, Member)
            members.append(shop)
        gateways = replicas(stack, tmp_path_factory.mktemp("offboarding"), pg_cluster.url("journey_offboarding"), 3)
        gateways[0].govern([], approve=False)
        for number, member in enumerate(members):
            gateways[0].cli("upstreams", "add", f"up{number}", member.url, "--auth", "on_behalf_of", "--allow-private")
        yield Lab(gateways, vendor, members)


def test_somebody_leaves_while_everybody_calls(lab: Lab) -> None:
    first = lab.gateways[0]
    _, leaver = lab.person(LEAVER)
    _, stayer = lab.person(STAYER)
    for number in range(UPSTREAMS):
        first.cli("upstreams", "refresh", f"up{number}")
    first.cli("tools", "approve", "--all", "--yes")
    first.cli("agents", "add", "nightly", "--owner", LEAVER)
    tools = [f"up{number}__list_orders" for number in range(UPSTREAMS)]
    preview = json.loads(first.cli("people", "deactivate", LEAVER, "--dry-run", "--json"))
    assert len(preview["summary"]["upstreams"]) == UPSTREAMS
    assert preview["receipt"] is None
    lab.vendor.down = True
    theirs = [Load(gateway, leaver, tools) for gateway in lab.gateways[:2]]
    others = [Load(gateway, stayer, tools) for gateway in lab.gateways[:2]]
    time.sleep(2.0)
    left = json.loads(first.cli("people", "deactivate", LEAVER, "--json"))
    ended = time.monotonic()
    time.sleep(BOUND + 2.0)
    codes = [one for load in theirs for one in load.stop()]
    kept = [code for load in others for _, code in load.stop()]
    assert {code for at, code in codes if at < ended - 1.0} == {"done"}
    assert sum(code == "done" for _, code in codes) > 50
    late = [code for at, code in codes if at > ended + BOUND]
    assert late, "nobody tried after the bound"
    assert "done" not in late
    assert set(kept) == {"done"}, "somebody else was harmed"
    mine = {f"Bearer at-{number}" for number in range(1, 2 + 2 * UPSTREAMS)}
    for member in lab.members:
        tokens = {token for _, token in member.calls_at}
        assert tokens <= mine
        assert len({token for at, token in member.calls_at if at > ended + BOUND}) == 1, "only the stayer's"
    _receipt(lab, left["receipt"])
    assert left["summary"]["agents"] == [{"name": "nightly", "to": None}]


def _receipt(lab: Lab, id_: str) -> None:
    """The vendor that is down is asked until it answers."""
    first = lab.gateways[0]
    signed = json.loads(first.cli("people", "receipt", id_, "--json"))
    found = {one["upstream"]: one["state"] for one in signed["receipt"]["upstreams"]}
    assert len(found) == UPSTREAMS
    assert found["up1"] == "not_possible"
    end = time.monotonic() + 30
    while time.monotonic() < end:
        signed = json.loads(first.cli("people", "receipt", id_, "--json"))
        found = {one["upstream"]: one["state"] for one in signed["receipt"]["upstreams"]}
        waiting = {name for name, state in found.items() if state == "pending"}
        if waiting == {"up0"} and lab.vendor.down:
            lab.vendor.down = False
        if not waiting:
            break
        time.sleep(0.3)
    assert signed["receipt"]["complete"] is True
    assert found == {f"up{number}": "not_possible" if number == 1 else "revoked" for number in range(UPSTREAMS)}
    assert all(one["todo"] for one in signed["receipt"]["upstreams"] if one["upstream"] == "up1")
    assert {f"{number} rt-" for number in range(UPSTREAMS) if number != 1} <= set(lab.vendor.revoked)
    head, body, signature = signed["signature"].split(".")
    assert head
    assert body
    assert signature
    keys = Robot(first.url).get("/oauth/jwks").json["keys"]
    assert keys[0]["crv"] == "Ed25519"


def test_nothing_comes_back_to_life(lab: Lab) -> None:
    first = lab.gateways[0]
    first.cli("people", "reactivate", LEAVER)
    listed = json.loads(first.cli("connections", "list", "--person", LEAVER, "--json"))
    assert {one["state"] for one in listed} == {"not_connected"}
    with RawClient(f"{first.url}/mcp", first.token(LEAVER)) as client:
        result = client.call("up3__list_orders")
    assert result["_meta"]["callgate/decision"]["code"] == "connection_required"
