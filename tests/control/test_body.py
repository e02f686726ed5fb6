"""What the API does with bodies and queries that are not as promised: a specific refusal, and no harm."""

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from callgate.control.body import members_at
from callgate.control.documents import Document
from tests.support.refusals import refused
from tests.support.running import Running


def send(gateway: Running, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    _, token = gateway.person("body@acme.test", "admin")
    connection = http.client.HTTPConnection(urlsplit(gateway.url).netloc, timeout=30)
    given = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}
    try:
        connection.request("POST", "/api/v1/people", body, given)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "parse_error"),
        (b"{", 400, "parse_error"),
        (b"\xff\xfe", 400, "parse_error"),
        (b'{"email": "\\ud800@acme.test"}', 400, "parse_error"),
        (b"[]", 422, "validation"),
        (b"null", 422, "validation"),
        (b"{}", 422, "validation"),
        (b'{"email": 1}', 422, "validation"),
        (b'{"email": "x\\u0000@acme.test"}', 422, "validation"),
        (b'{"email": "x@acme.test\\n"}', 422, "validation"),
        (b"[" * 200 + b"]" * 200, 400, "body_too_deep"),
    ],
)
def test_a_wrong_body_is_refused(gateway: Running, body: bytes, status: int, code: str) -> None:
    found, problem = send(gateway, body)
    assert (found, problem["status"], problem["code"]) == (status, status, code)
    assert problem["type"] == f"urn:callgate:error:{code}"


def test_a_body_that_is_too_large_is_refused_while_it_comes(gateway: Running) -> None:
    limit = gateway.settings.max_body_bytes
    with socket.create_connection(("127.0.0.1", urlsplit(gateway.url).port or 0), timeout=30) as connection:
        _, token = gateway.person("large@acme.test", "admin")
        head = f"POST /api/v1/people HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {limit * 2}\r\n\r\n"
        connection.sendall(head.encode() + b" " * (limit + 1))
        assert b" 413 " in connection.recv(65536)


def test_another_media_type_is_refused(gateway: Running) -> None:
    assert send(gateway, b"{}", **{"Content-Type": "text/plain"})[1]["code"] == "unsupported_media_type"


def test_unknown_and_repeated_query_parameters_are_refused(gateway: Running) -> None:
    with refused("validation", "Known here: after, limit, active."):
        gateway.operator.get("/people", zzz=1)
    with refused("validation", "Did you mean `limit`?"):
        gateway.operator.get("/people", limits=1)
    with refused("validation", "more than once"):
        gateway.operator.get("/people?limit=1&limit=2")
    for limit in (0, 501, "x"):
        with refused("validation"):
            gateway.operator.get("/people", limit=limit)


def test_a_foreign_host_or_origin_is_refused(gateway: Running) -> None:
    assert send(gateway, b"{}", Host="evil.example")[1]["code"] == "bad_host"
    assert send(gateway, b"{}", Origin="https://evil.example")[1]["code"] == "bad_origin"


def test_paths_and_methods_that_are_not_there(gateway: Running) -> None:
    with refused("not_found"):
        gateway.operator.get("/nothing")
    with refused("method_not_allowed"):
        gateway.operator.delete("/people")


def test_the_known_names_are_those_of_the_place() -> None:
    assert members_at(Document, "$") == ["people", "agents", "upstreams", "tools", "rules", "tests", "options"]
    assert members_at(Document, "$.upstreams[3].stdio") == ["command", "args", "env", "cwd"]
    assert members_at(Document, "$.rules[0].match.unless")[0] == "upstream"
    assert members_at(Document, "$.upstreams[0].stdio.env[...]") == ["env"]
    assert members_at(Document, "$.nothing.here") == []


def test_a_pattern_is_said_in_words(gateway: Running) -> None:
    with refused("validation", "Expected 1 to 32 characters of a-z"):
        gateway.operator.post("/agents", {"name": "Not Plain"})
    with refused("validation", "an e-mail address"):
        gateway.operator.post("/people", {"email": "nobody"})
