"""The permission table, walked over every route that the API serves, through its real doors."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from callgate.control import resources
from callgate.control.api import check_table
from callgate.control.permissions import PREFIX, TABLE, Need, allowed
from callgate.model.caller import ROLES, Actor
from tests.support.running import Running

VALUES = {"name": "nobody", "version": "7", "email": "nobody@acme.test", "upstream": "nobody", "id": "tok_" + "0" * 26}
ROUTES = sorted(TABLE)


@pytest.fixture(scope="module")
def tokens(gateway: Running) -> dict[str, str]:
    return {role: gateway.person(f"{role}@acme.test", role)[1] for role in ROLES}


def ask(gateway: Running, method: str, path: str, token: str | None) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=30)
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = b'{"no such member": 1}' if method in ("POST", "PUT", "PATCH") else None
    try:
        connection.request(method, PREFIX + path.format(**VALUES), body, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    is_json = answer.getheader("Content-Type", "").endswith("json")
    return answer.status, json.loads(text) if is_json and text else {}


def test_the_table_names_every_route_and_no_other() -> None:
    check_table(resources.all_operations())


def test_a_route_that_is_not_in_the_table_stops_the_start() -> None:
    with pytest.raises(LookupError, match="whoami"):
        check_table(one for one in resources.all_operations() if one.path != "/whoami")


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: value)
def test_a_route_is_refused_without_identity(gateway: Running, method: str, path: str) -> None:
    status, problem = ask(gateway, method, path, None)
    if TABLE[(method, path)].roles is None:
        assert status == 200
    else:
        assert (status, problem["code"]) == (401, "auth_required")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: value)
def test_a_role_reaches_exactly_what_the_table_says(
    gateway: Running, tokens: dict[str, str], method: str, path: str, role: str
) -> None:
    need = TABLE[(method, path)]
    status, problem = ask(gateway, method, path, tokens[role])
    if allowed(Actor("default", "person", "per_x", (role,)), need):
        assert status != 403
        assert status < 500
    else:
        assert (status, problem["code"]) == (403, "forbidden")
        assert problem["data"] == {"permission": need.permission, "roles": sorted(need.roles or ())}


def test_the_operator_has_every_permission(gateway: Running) -> None:
    me = gateway.operator.get("/whoami")
    assert me["kind"] == "operator"
    assert me["permissions"] == sorted({need.permission for need in TABLE.values()})


def test_a_person_without_roles_has_only_what_needs_none() -> None:
    nobody = Actor("default", "person", "per_x", ())
    assert [route for route, need in TABLE.items() if allowed(nobody, need)] == [("GET", "/openapi.json")]
    assert allowed(Actor("default", "operator", "operator:0", ()), Need("anything", frozenset()))
