"""Idempotency keys: acting once, answering the same, and never for another request."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.running import Running


@pytest.fixture(scope="module")
def token(gateway: Running) -> str:
    return gateway.person("idem@acme.test", "admin")[1]


def post(gateway: Running, token: str, path: str, body: object, key: str) -> tuple[int, dict[str, Any], str | None]:
    connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": key}
    try:
        connection.request("POST", f"/api/v1{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.getheader("Idempotent-Replay")
    finally:
        connection.close()


def test_the_same_key_acts_once_and_gives_the_same_answer(gateway: Running, token: str) -> None:
    body = {"person": "idem@acme.test", "client": "replayed"}
    first = post(gateway, token, "/tokens", body, "key-1")
    again = post(gateway, token, "/tokens", body, "key-1")
    assert first[0] == again[0] == 201
    assert first[1] == again[1]
    assert (first[2], again[2]) == (None, "true")
    issued = [one for one in gateway.operator.pages("/tokens") if one["client"] == "replayed"]
    assert len(issued) == 1


def test_a_kept_answer_is_sealed(gateway: Running, token: str) -> None:
    answer = post(gateway, token, "/tokens", {"person": "idem@acme.test"}, "key-sealed")[1]
    for path in gateway.settings.data_dir.rglob("*"):
        if path.is_file():
            assert answer["token"].encode() not in path.read_bytes()


def test_the_same_key_for_another_request_is_a_conflict(gateway: Running, token: str) -> None:
    post(gateway, token, "/people", {"email": "k2@acme.test"}, "key-2")
    for path, body in (("/people", {"email": "k3@acme.test"}), ("/agents", {"email": "k2@acme.test"})):
        status, problem, _ = post(gateway, token, path, body, "key-2")
        assert status in (409, 422)
        assert problem["code"] in ("conflict", "validation")
    status, problem, _ = post(gateway, token, "/people", {"email": "k3@acme.test"}, "key-2")
    assert (status, problem["code"]) == (409, "conflict")


def test_a_refusal_is_not_kept(gateway: Running, token: str) -> None:
    body = {"person": "later@acme.test"}
    assert post(gateway, token, "/tokens", body, "key-3")[0] == 404
    gateway.operator.post("/people", {"email": "later@acme.test"})
    assert post(gateway, token, "/tokens", body, "key-3")[0] == 201


def test_keys_of_different_actors_do_not_meet(gateway: Running, token: str) -> None:
    other = gateway.person("other@acme.test", "admin")[1]
    mine = post(gateway, token, "/people", {"email": "mine@acme.test"}, "key-4")
    theirs = post(gateway, other, "/people", {"email": "theirs@acme.test"}, "key-4")
    assert (mine[0], theirs[0]) == (201, 201)


@pytest.mark.parametrize("key", ["", "x" * 129, "white space", "ü"])
def test_an_odd_key_is_refused(gateway: Running, token: str, key: str) -> None:
    status, problem, _ = post(gateway, token, "/people", {"email": "odd@acme.test"}, key)
    assert (status, problem["code"]) == (422, "validation")
