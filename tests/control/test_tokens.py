"""Tokens: shown once, valid for what they were issued for, ended at once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.refusals import refused
from tests.support.running import Running


def test_the_clear_text_is_in_the_answer_and_nowhere_else(gateway: Running) -> None:
    _, token = gateway.person("ana@acme.test", "admin")
    assert token.startswith("cgt_")
    listed = list(gateway.operator.pages("/tokens", person="ana@acme.test"))
    assert len(listed) == 1
    assert token not in str(listed)
    for path in gateway.settings.data_dir.rglob("*"):
        if path.is_file():
            assert token.encode() not in Path(path).read_bytes()


def test_a_token_ends_when_it_says(gateway: Running) -> None:
    gateway.person("exp@acme.test")
    issued = gateway.operator.post("/tokens", {"person": "exp@acme.test", "expires": "30d"})
    left = datetime.fromisoformat(issued["expires"]) - datetime.now(UTC)
    assert timedelta(days=29) < left < timedelta(days=31)
    assert gateway.operator.post("/tokens", {"person": "exp@acme.test"})["expires"] is None


@pytest.mark.parametrize("time", ["0d", "-1d", "30", "d", "30y", "30d\n"])
def test_odd_times_are_refused(gateway: Running, time: str) -> None:
    with refused("validation", "$.expires"):
        gateway.operator.post("/tokens", {"person": "exp@acme.test", "expires": time})


def test_a_revoked_token_is_refused(gateway: Running) -> None:
    client, _ = gateway.person("rev@acme.test", "admin")
    [known] = gateway.operator.pages("/tokens", person="rev@acme.test")
    assert client.get("/whoami")["roles"] == ["admin"]
    gateway.operator.delete(f"/tokens/{known['id']}")
    with refused("invalid_token"):
        client.get("/whoami")
    [ended] = gateway.operator.pages("/tokens", person="rev@acme.test")
    assert ended["revoked"] is not None


def test_a_token_of_an_agent_or_a_client_is_good_for_mcp_only(gateway: Running) -> None:
    gateway.operator.post("/agents", {"name": "bot"})
    for more in ({"agent": "bot"}, {"client": "cursor"}):
        client, _ = gateway.person("mcp@acme.test", "admin", **more)
        with refused("forbidden", "--client cli"):
            client.get("/whoami")
    client, _ = gateway.person("mcp@acme.test", "admin", client="cli")
    assert client.get("/whoami")["kind"] == "person"


def test_a_token_needs_a_person_and_an_agent_that_exist(gateway: Running) -> None:
    with refused("not_found"):
        gateway.operator.post("/tokens", {"person": "none@acme.test"})
    gateway.person("who@acme.test")
    with refused("validation", "callgate agents add"):
        gateway.operator.post("/tokens", {"person": "who@acme.test", "agent": "nobody"})
    with refused("not_found"):
        gateway.operator.get("/tokens", person="none@acme.test")
    with refused("not_found"):
        gateway.operator.delete("/tokens/tok_" + "0" * 26)
