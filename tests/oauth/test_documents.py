"""Clients that are known by the URL of a metadata document, and what an attacker makes of the fetching of it."""

import asyncio
import json
from collections.abc import Iterator
from email.message import Message
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from callgate import clock
from callgate.model.oauth import ClientFacts
from callgate.oauth import documents
from callgate.oauth.clients import ASSERTION
from callgate.oauth.documents import check_url, facts_of
from callgate.oauth.faults import OAuthError
from tests.support.robot import Robot
from tests.support.running import Running, running
from tests.support.signing_in import BACK, Client, account, ask
from tests.support.website import Answer, Website


class Host(Website):
    """Where documents lie. `answers`: path → (status, body, headers)."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []

    def answer(self, path: str, headers: Message, body: bytes) -> Answer:
        del headers, body
        self.asked.append(path)
        return self.answers.get(path, (404, b"", {}))

    def put(self, path: str, **more: Any) -> str:
        url = self.url + path
        document = {"client_id": url, "client_name": "By Document", "redirect_uris": [BACK], **more}
        self.answers[path] = (200, json.dumps(document).encode(), {"Content-Type": "application/json"})
        return url


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as found:
        yield found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("documents")
    with running(place, client_documents="on", allowed_networks=["127.0.0.0/8"]) as found:
        yield found


@pytest.fixture(scope="module")
def ana(run: Running) -> Robot:
    return account(run, "ana@acme.test")


def client_at(run: Running, url: str) -> Client:
    client = Client(run.url)
    client.id = url
    return client


def test_a_client_is_known_by_its_document(run: Running, ana: Robot, host: Host) -> None:
    client = client_at(run, host.put("/client.json"))
    page = ana.get(client.authorize_url())
    assert "Allow By Document" in page.words
    issued = client.login(ana)
    assert ask(run.url, issued["access_token"]).status == 200
    client.login(ana)
    assert host.asked.count("/client.json") == 1, "it is kept for a while"
    found = {one["client_id"]: one for one in run.operator.get("/clients")["items"]}
    assert found[client.id]["kind"] == "document"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b'{"client_id": "https://other.test/x", "redirect_uris": ["https://other.test/"]}', "another client_id"),
        (b"[]", "no JSON object"), (b"\xff", "no JSON object"), (b"{" + b" " * 100_000 + b"}", "fetched"),
        (b'{"redirect_uris": []}', "another client_id"),
    ],
)  # fmt: skip
def test_a_document_that_lies_or_is_none_is_refused(
    run: Running, ana: Robot, host: Host, document: bytes, why: str
) -> None:
    host.answers["/client.json"] = (200, document, {})
    page = ana.get(client_at(run, f"{host.url}/client.json").authorize_url(), follow=False)
    assert page.status == 422
    assert why in page.words


def test_a_document_elsewhere_is_not_followed(run: Running, ana: Robot, host: Host) -> None:
    host.put("/real.json")
    host.answers["/client.json"] = (302, b"", {"Location": "/real.json"})
    page = ana.get(client_at(run, f"{host.url}/client.json").authorize_url(), follow=False)
    assert "status 302" in page.words
    assert "/real.json" not in host.asked


@pytest.mark.parametrize(
    "url",
    [
        "http://acme.test/client.json", "https://acme.test", "https://acme.test/", "https://acme.test/a/../b",
        "https://user@acme.test/x", "https://acme.test/x#y", "https://acme.test/\u00e4", "ftp://acme.test/x",
    ],
)  # fmt: skip
def test_a_url_that_two_would_read_in_two_ways_is_no_client_id(url: str) -> None:
    with pytest.raises(OAuthError) as caught:
        check_url(url)
    assert caught.value.error == "invalid_client"


def test_a_document_with_a_secret_is_refused() -> None:
    url = "https://acme.test/x"
    raw = json.dumps({"client_id": url, "client_secret": "x", "redirect_uris": [BACK]}).encode()
    with pytest.raises(OAuthError, match="secret"):
        facts_of(url, raw)


def test_private_addresses_are_not_fetched(tmp_path_factory: pytest.TempPathFactory, host: Host) -> None:
    """Server-side request forgery: without the operator's leave no client id leads the gateway to a private address."""
    place = tmp_path_factory.mktemp("ssrf")
    with running(place, client_documents="on") as run:
        robot = account(run, "eve@acme.test")
        for url in (host.put("/client.json"), "https://169.254.169.254/latest/meta-data", "https://10.0.0.1/x"):
            page = robot.get(client_at(run, url).authorize_url(), follow=False)
            assert page.status == 422
            assert "cannot be fetched" in page.words
        assert not host.asked


def test_what_cannot_be_fetched_is_not_advertised(run: Running, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert Robot(run.url).get("/.well-known/oauth-authorization-server").json["client_id_metadata_document_supported"]
    with running(tmp_path_factory.mktemp("auto"), client_documents_probe="https://127.0.0.1:9/x") as other:
        for _ in range(3):
            found = Robot(other.url).get("/.well-known/oauth-authorization-server").json
            assert found["client_id_metadata_document_supported"] is False


def test_a_pinned_copy_is_never_fetched(run: Running, ana: Robot, host: Host) -> None:
    url = f"{host.url}/pinned.json"
    run.operator.post("/clients", {"name": "Pinned", "document": url, "redirect_uris": [BACK]})
    issued = client_at(run, url).login(ana)
    assert ask(run.url, issued["access_token"]).status == 200
    assert not host.asked


def test_nobody_makes_the_gateway_fetch_without_end(tmp_path_factory: pytest.TempPathFactory, host: Host) -> None:
    """Each client id is another URL; after so many from one network it is told to slow down, and nothing is fetched."""
    place = tmp_path_factory.mktemp("flood")
    with running(place, client_documents="on", allowed_networks=["127.0.0.0/8"]) as run:
        robot, client = account(run, "ana@acme.test"), Client(run.url)
        known = host.put("/known")
        client.id = known
        assert robot.get(client.authorize_url()).status == 200
        words = ""
        for number in range(140):
            client.id = f"{host.url}/flood/{number}"
            words = robot.get(client.authorize_url()).words
        assert "Too many" in words
        assert len([one for one in host.asked if one.startswith("/flood/")]) <= 120
        client.id = known
        assert robot.get(client.authorize_url()).status == 200, "who is known already is not slowed down"


def test_what_an_admin_says_of_a_client_outlives_its_document(
    run: Running, ana: Robot, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document is fetched again, and meanwhile an admin says as which agent the client acts."""
    client = client_at(run, host.put("/changed.json"))
    client.login(ana)
    run.operator.post("/agents", {"name": "bot"})
    monkeypatch.setattr(documents, "FRESH", 0.0)
    fetch, path = documents.fetch, f"/clients/{row(run, client)['id']}"

    async def slow(*given: Any) -> ClientFacts:
        found = await fetch(*given)
        await asyncio.to_thread(run.operator.patch, path, {"agent": "bot"})
        return found

    monkeypatch.setattr(documents, "fetch", slow)
    host.put("/changed.json", client_name="Another Name")
    assert "Another Name" in ana.get(client.authorize_url()).words
    assert row(run, client)["agent"] == "bot"
    assert row(run, client)["name"] == "Another Name"


def row(run: Running, client: Client) -> dict[str, Any]:
    (found,) = [one for one in run.operator.get("/clients")["items"] if one["client_id"] == client.id]
    return dict(found)


def test_forged_client_assertions_cost_nobody_a_fetch_each(run: Running, host: Host) -> None:
    key, other = (RSAKey.generate_key(2048, {"kid": "one"}) for _ in "ab")
    host.answers["/jwks"] = (200, json.dumps({"keys": [key.as_dict(private=False)]}).encode(), {})
    for path, uri in (("/signer.json", "/jwks"), ("/keyless.json", "/nowhere")):
        more = {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": host.url + uri}
        client = client_at(run, host.put(path, **more))
        for _ in range(5):
            now = int(clock.now())
            body = {"iss": client.id, "sub": client.id, "aud": run.url, "exp": now + 60, "jti": clock.random_urlsafe(9)}
            proof = jwt.encode({"alg": "RS256", "kid": "one"}, body, other)
            page = client.token(
                grant_type="client_credentials", client_assertion_type=ASSERTION, client_assertion=proof
            )
            assert page.json["error"] == "invalid_client"
        assert host.asked.count(uri) == 1
