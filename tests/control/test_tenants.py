"""One company's ids in the hands of another's admin: every route of the API, on both databases."""

import asyncio
import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from callgate.control.permissions import PREFIX, TABLE
from callgate.store import tenants
from callgate.store.engine import Database
from tests.support.robot import Robot
from tests.support.running import Running, on_each
from tests.support.shop import open_shop
from tests.support.signing_in import Client, account, ask

NUMBERED = "/policies/versions/{version}"  # a number: each company has its own first version
ROUTES = sorted(route for route in TABLE if "{" in route[1] and route[1] != NUMBERED)
LISTS = sorted(path for method, path in TABLE if method == "GET" and "{" not in path and path != "/openapi.json")
OTHER = "other"
KNOWN = {  # what each route would take, were it theirs
    "/agents/{name}": {"upstreams": []},
    "/approvals/{id}/approve": {"reason": "theirs"},
    "/approvals/{id}/deny": {"reason": "theirs"},
    "/clients/{id}": {"agent": None},
    "/definitions/{id}/approve": {"full": "0" * 64},
    "/people/{email}": {"roles": ["admin"]},
    "/rules/{id}": {"title": "Theirs", "effect": "allow"},
    "/tools/{name}/approve": {"full": "0" * 64},
    "/connections/{upstream}/token": {"token": "theirs"},
}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, dict[str, str], str]]:
    """A gateway with two companies: the ids of the first, and a token of the other's admin."""
    with open_shop() as shop, on_each(request, tmp_path_factory, client_documents="off") as run:
        settings = run.settings
        asyncio.run(second(settings.database_url or f"sqlite:///{settings.data_dir.resolve() / 'callgate.db'}"))
        run.add_upstream("shop", shop.url, auth={"mode": "own_token"})
        ids = theirs(run)
        run.operator.post("/people", {"email": "boss@other.test", "roles": ["admin"]}, tenant=OTHER)
        token = run.operator.post("/tokens", {"person": "boss@other.test"}, tenant=OTHER)["token"]
        yield run, ids, token


async def second(url: str) -> None:
    """The other company."""
    db = await Database.open(url)
    async with db.unit(None) as unit:
        await tenants.ensure(unit, OTHER)
    await db.close()


def theirs(run: Running) -> dict[str, str]:
    """One thing of each kind of the first company, by the resource of its routes."""
    robot = account(run, "ana@acme.test", "admin")
    Client(run.url).login(robot)
    operator = run.operator
    operator.put("/connections/shop/token", {"token": "own"}, person="ana@acme.test")
    operator.post("/upstreams/shop/refresh")
    operator.post("/agents", {"name": "bot"})
    operator.post("/rules", {"id": "own-rule", "title": "Own", "effect": "deny"})
    operator.put("/policies/drafts/own-draft", {"rules": []})
    operator.put("/providers/own", {"issuer": "https://idp.test", "client_id": "x"})
    killed = operator.post("/kills", {"upstream": "shop", "reason": "own"})
    operator.post("/people", {"email": "gone@acme.test"})
    left = operator.post("/people/gone@acme.test/deactivate")
    risks = operator.get("/risks")["items"]
    return {
        "upstreams": "shop", "connections": "shop", "tools": "shop__list_orders", "people": "ana@acme.test",
        "agents": "bot", "rules": "own-rule", "policies": "own-draft", "providers": "own", "kills": killed["id"],
        "offboardings": left["receipt"], "tokens": next(iter(operator.pages("/tokens")))["id"],
        "clients": operator.get("/clients")["items"][0]["id"],
        "authorizations": operator.get("/authorizations")["items"][0]["id"],
        "definitions": operator.get("/tools/shop__list_orders")["id"], "approvals": "apr_" + "0" * 26,
        "risks": risks[0]["id"] if risks else f"def_{'0' * 26}.{'0' * 32}",
    }  # fmt: skip


def state(run: Running) -> str:
    """Everything of the first company that the API shows."""
    found = {}
    for path in LISTS:
        if path not in ("/audit/tail", "/audit/events", "/audit/export.csv", "/doctor", "/replicas", "/whoami"):
            query = {"person": "ana@acme.test"} if path == "/connections" else {}
            found[path] = run.operator.get(path, **query)
    return json.dumps(found, sort_keys=True)


def send(run: Running, method: str, path: str, token: str, body: object) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(run.url).netloc, timeout=30)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    try:
        connection.request(method, PREFIX + path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: value)
def test_foreign_ids_open_nothing(lab: tuple[Running, dict[str, str], str], method: str, path: str) -> None:
    run, ids, token = lab
    resource = path.split("/")[1]
    name = path.partition("{")[2].partition("}")[0]
    filled = path.replace(f"{{{name}}}", ids[resource])
    body = KNOWN.get(path, {}) if method in ("POST", "PUT", "PATCH") else None
    before = state(run)
    status, text = send(run, method, filled, token, body)
    assert state(run) == before, "it reached into the other company"
    made_their_own = method == "PUT" and path in ("/providers/{name}", "/policies/drafts/{name}")
    assert made_their_own or status in (404, 422), (status, text[:300])
    assert b"ana@acme.test" not in text.replace(ids["people"].encode(), b"") or resource == "people"


@pytest.mark.parametrize("path", LISTS)
def test_lists_show_nothing_of_the_other_company(lab: tuple[Running, dict[str, str], str], path: str) -> None:
    run, ids, token = lab
    status, text = send(run, "GET", path, token, None)
    assert status in (200, 422), (status, text[:200])
    for value in (b"ana@acme.test", b"shop", ids["tokens"].encode(), ids["clients"].encode(), b"own-rule"):
        assert value not in text


def test_the_other_companys_doors_do_not_take_our_tokens(lab: tuple[Running, dict[str, str], str]) -> None:
    run, _, token = lab
    assert ask(f"{run.url}/t/{OTHER}", token).status == 200
    assert ask(run.url, token).status == 401
    robot = account(run, "eve@acme.test")
    assert "Sign in" in robot.get(f"/t/{OTHER}/account").words, "a session is good in its own company alone"
    client = Client(run.url)
    client.register()
    page = robot.get(f"/t/{OTHER}/oauth/authorize?{client.authorize_url().partition('?')[2]}")
    assert "not registered" in page.words
    issued = client.login(robot)
    renewed = {"grant_type": "refresh_token", "refresh_token": issued["refresh_token"], "client_id": client.id}
    assert Robot(run.url).post(f"/t/{OTHER}/oauth/token", renewed).json["error"] == "invalid_client"
    metadata = Robot(run.url).get(f"/.well-known/oauth-authorization-server/t/{OTHER}").json
    assert metadata["issuer"] == f"{run.url}/t/{OTHER}"
