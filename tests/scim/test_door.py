"""The SCIM door: whose token opens it, what a bad request gets, and that tenants never meet."""

import asyncio
import http.client
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from callgate.cli.client import Client
from callgate.identity import people
from callgate.model.caller import Actor
from callgate.store import tenants
from callgate.store.engine import Database
from tests.scim.client import GROUP, USER, Scim, refused
from tests.support.refusals import refused as refused_there
from tests.support.running import Running, running

OPERATOR = Actor("acme", "operator", "operator:0", ("admin",))


def status_of_mcp(url: str, token: str, path: str = "/mcp") -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    connection.request("POST", path, body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


async def _tenant(url: str, name: str, client: str | None) -> str:
    db = await Database.open(url)
    try:
        async with db.unit(None) as unit:
            await tenants.ensure(unit, name)
        async with db.unit(name) as unit:
            admin = await people.add(unit, OPERATOR, "idp@acme.test", ("admin",))
            _, clear = await people.issue(unit, OPERATOR, admin, agent=None, client=client, expires=None)
            return clear
    finally:
        await db.close()


def other_tenant(gateway: Running, name: str, client: str | None = "scim") -> str:
    """A token of another tenant's admin, for this client."""
    url = gateway.settings.database_url or f"sqlite:///{gateway.settings.data_dir / 'callgate.db'}"
    return asyncio.run(_tenant(url, name, client))


def test_the_configuration_needs_no_token_and_says_what_there_is(gateway: Running) -> None:
    with Scim.at(gateway.url, None) as nobody:
        config = nobody.get("/ServiceProviderConfig").json
        there = {name for name, one in config.items() if isinstance(one, dict) and one.get("supported")}
        assert there == {"patch", "filter", "sort", "etag"}
        assert [config[name]["supported"] for name in ("bulk", "changePassword")] == [False, False]
        for path in ("/Users", "/Groups", "/Schemas", "/ResourceTypes", "/", "/nonsense", "/Users/per_x"):
            said = nobody.get(path)
            refused(said, 401)
            assert said.headers["www-authenticate"] == 'Bearer realm="SCIM"'


@pytest.mark.parametrize("client", [None, "cli", "claude-code"])
def test_a_token_for_something_else_opens_nothing(gateway: Running, client: str | None) -> None:
    _, token = gateway.person("ana@acme.test", "admin", client=client)
    with Scim.at(gateway.url, token) as scim:
        for path in ("/Users", "/ServiceProviderConfig"):
            said = scim.get(path)
            refused(said, 401, None, "--client scim")
            assert "invalid_token" in said.headers["www-authenticate"]
        refused(scim.post("/Users", {"schemas": [USER], "userName": "x@acme.test"}), 401)


def test_a_token_for_scim_opens_nothing_else(gateway: Running, scim: Scim) -> None:
    assert scim.token is not None
    assert status_of_mcp(gateway.url, scim.token) == 401
    assert status_of_mcp(gateway.url, scim.token, "/mcp/u/files") == 401
    client = Client.at_url(gateway.url, scim.token)
    with refused_there("forbidden"):
        client.get("/people")
    client.close()
    assert status_of_mcp(gateway.url, scim.token) == 401  # known by now


def test_only_an_admin_provisions(gateway: Running, scim: Scim) -> None:
    gateway.operator.post("/people", {"email": "member@acme.test"})
    with refused_there("validation", "admin"):
        gateway.operator.post("/tokens", {"person": "member@acme.test", "client": "scim"})
    gateway.operator.post("/people", {"email": "second@acme.test", "roles": ["admin"]})
    token = gateway.operator.post("/tokens", {"person": "second@acme.test", "client": "scim"})["token"]
    with Scim.at(gateway.url, token) as second:
        assert second.get("/Users").status == 200
        gateway.operator.patch("/people/second@acme.test", {"roles": ["member"]})
        refused(second.get("/Users"), 403, None, "admin")
        gateway.operator.post("/people/second@acme.test/deactivate")
        refused(second.get("/Users"), 401)
    with Scim.at(gateway.url, "cgt_" + "x" * 43) as stranger:
        refused(stranger.get("/Users"), 401)


def test_whoever_lets_themselves_out_has_no_token_left(gateway: Running, scim: Scim) -> None:
    gateway.operator.post("/people", {"email": "second@acme.test", "roles": ["admin"]})
    (idp,) = scim.found("/Users", 'userName eq "idp@acme.test"')
    assert scim.delete(f"/Users/{idp['id']}").status == 204
    refused(scim.get("/Users"), 401)


def test_tenants_never_meet(each_gateway: Running) -> None:
    gateway = each_gateway
    mine = gateway.operator.post("/people", {"email": "idp@acme.test", "roles": ["admin"]})
    token = gateway.operator.post("/tokens", {"person": "idp@acme.test", "client": "scim"})["token"]
    theirs = other_tenant(gateway, "acme")
    with Scim.at(gateway.url, token) as here, Scim.at(gateway.url, theirs, "/t/acme/scim/v2") as there:
        user, group = there.user("ana@acme.test", externalId="x"), there.group("Crew")
        assert user["meta"]["location"].startswith(f"{gateway.url}/t/acme/scim/v2/Users/")
        assert here.found("/Users", 'externalId eq "x"') == []
        assert {one["id"] for one in here.get("/Users").json["Resources"]} == {mine["id"]}
        for path in (f"/Users/{user['id']}", f"/Groups/{group['id']}"):
            refused(here.get(path), 404)
            refused(here.delete(path), 404)
            refused(here.patch(path, {"op": "replace", "path": "displayName", "value": "x"}), 404)
            refused(here.put(path, {"schemas": [USER], "userName": "x@acme.test", "displayName": "x"}), 404)
        foreign = {"schemas": [GROUP], "displayName": "Mine", "members": [{"value": user["id"]}]}
        refused(here.post("/Groups", foreign), 400, "invalidValue")
        assert here.user("ana@acme.test")["id"] != user["id"]
        assert there.get(f"/Users/{user['id']}").status == 200
    for foreign_token, tenant in ((token, "acme"), (theirs, "default"), (theirs, "nobody")):
        with Scim.at(gateway.url, foreign_token, f"/t/{tenant}/scim/v2") as stranger:
            refused(stranger.get("/Users"), 401)


@pytest.mark.parametrize(
    ("body", "status", "scim_type"),
    [
        (b"", 400, "invalidSyntax"),
        (b"{", 400, "invalidSyntax"),
        (b"[]", 400, None),
        (b"null", 400, None),
        (b'"x"', 400, None),
        (b"{}", 400, "invalidValue"),
        (b'{"userName": 7}', 400, "invalidValue"),
        (b'{"userName": "a@acme.test", "emails": "x"}', 400, "invalidValue"),
        (b'{"userName": "\xff@acme.test"}', 400, "invalidSyntax"),
        (b'{"userName": "a@acme.test", "displayName": "\\ud800"}', 400, "invalidSyntax"),
        (b"[" * 100_000, 400, "invalidSyntax"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, 400, "invalidSyntax"),
        (b'{"userName": "' + b"x" * 1_100_000 + b'"}', 413, None),
    ],
)
def test_a_body_that_is_none_is_refused(scim: Scim, body: bytes, status: int, scim_type: str | None) -> None:
    said = scim.send("POST", "/Users", body)
    assert said.status == status, said
    if scim_type:
        refused(said, status, scim_type)
    assert scim.get("/Users", count=0).json["totalResults"] == 1


def test_other_requests_that_make_no_sense(scim: Scim) -> None:
    refused(scim.send("POST", "/Users", b"{}", Content_Type="text/plain"), 415)
    refused(scim.send("DELETE", "/Users"), 405)
    refused(scim.send("TRACE", "/Users"), 405)
    refused(scim.post("/Bulk", {}), 501)
    refused(scim.get("/Me"), 501)
    refused(scim.get("/nonsense"), 404)
    refused(scim.get("/Users/per_x/y"), 404)
    refused(scim.get("/Users/%00"), 404)
    refused(scim.get("/Schemas", filter='id eq "x"'), 403)
    refused(scim.get("/Users", attributes="title", excludedAttributes="title"), 400)


def test_hosts_and_origins_are_checked(scim: Scim) -> None:
    refused(scim.send("GET", "/Users", Host="evil.example"), 421)
    refused(scim.send("GET", "/Users", Origin="https://evil.example"), 403)


def test_the_protocol_is_loaded_when_somebody_asks_for_it() -> None:
    program = "import callgate.app, sys; print([name for name in sys.modules if name.startswith('scim2')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_gateway_without_the_api_has_no_scim(tmp_path: Path) -> None:
    with running(tmp_path / "data", role="gateway") as gateway, Scim.at(gateway.url, None) as nobody:
        assert nobody.get("/ServiceProviderConfig").status == 404


def test_the_schemas_say_what_is_always_there(scim: Scim) -> None:
    schemas = {one["id"]: one for one in scim.get("/Schemas").json["Resources"]}
    user = {one["name"]: one for one in schemas[USER]["attributes"]}
    assert {name for name, one in user.items() if one["required"]} == {"userName", "emails", "active"}
    assert scim.get(f"/Schemas/{USER}").json["attributes"] == schemas[USER]["attributes"]
