"""People through the API: added once, changed, deactivated with everything that was theirs."""

from callgate.cli.client import Client
from tests.support.refusals import refused
from tests.support.running import Running


def test_a_person_is_a_member_unless_told_otherwise(gateway: Running) -> None:
    person = gateway.operator.post("/people", {"email": "Ana@Acme.test"})
    assert (person["email"], person["roles"], person["teams"], person["active"]) == (
        "ana@acme.test",
        ["member"],
        [],
        True,
    )
    assert gateway.operator.get("/people/ANA@acme.test") == person


def test_an_address_is_given_once(gateway: Running) -> None:
    gateway.operator.post("/people", {"email": "twice@acme.test"})
    with refused("conflict", "twice@acme.test"):
        gateway.operator.post("/people", {"email": "TWICE@acme.test"})


def test_roles_and_teams_change_apart(gateway: Running) -> None:
    gateway.operator.post("/people", {"email": "bo@acme.test", "roles": ["reviewer"], "teams": ["red"]})
    changed = gateway.operator.patch("/people/bo@acme.test", {"teams": ["blue", "blue"]})
    assert (changed["roles"], changed["teams"]) == (["reviewer"], ["blue"])
    changed = gateway.operator.patch("/people/bo@acme.test", {"roles": ["auditor", "admin"]})
    assert (changed["roles"], changed["teams"]) == (["admin", "auditor"], ["blue"])


def test_unknown_roles_and_members_are_refused_with_a_hint(gateway: Running) -> None:
    with refused("validation", "boss"):
        gateway.operator.post("/people", {"email": "x@acme.test", "roles": ["boss"]})
    with refused("validation", "Did you mean `roles`?"):
        gateway.operator.post("/people", {"email": "x@acme.test", "role": ["admin"]})
    with refused("validation", "$.email"):
        gateway.operator.post("/people", {"email": "no address"})


def test_deactivating_ends_every_token_at_once(gateway: Running) -> None:
    client, _ = gateway.person("leaver@acme.test", "admin")
    assert client.get("/whoami")["roles"] == ["admin"]
    done = gateway.operator.post("/people/leaver@acme.test/deactivate")
    assert done["active"] is False
    with refused("invalid_token"):
        client.get("/whoami")
    assert [one["revoked"] is not None for one in gateway.operator.pages("/tokens", person="leaver@acme.test")] == [
        True
    ]


def test_a_reactivated_person_has_no_token_until_one_is_issued(gateway: Running) -> None:
    client, _ = gateway.person("returner@acme.test", "admin")
    gateway.operator.post("/people/returner@acme.test/deactivate")
    with refused("person_inactive"):
        gateway.operator.post("/tokens", {"person": "returner@acme.test"})
    gateway.operator.post("/people/returner@acme.test/reactivate")
    with refused("invalid_token"):
        client.get("/whoami")
    fresh, _ = gateway.person("returner@acme.test")
    assert fresh.get("/whoami")["kind"] == "person"


def test_pages_hold_everybody_once(gateway: Running) -> None:
    for number in range(7):
        gateway.operator.post("/people", {"email": f"p{number}@pages.test"})
    seen: list[str] = []
    after = None
    while True:
        page = gateway.operator.get("/people", limit=3, after=after)
        assert len(page["items"]) <= 3
        seen += [one["email"] for one in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert len(seen) == len(set(seen))
    assert {f"p{number}@pages.test" for number in range(7)} <= set(seen)


def test_only_the_active_ones_when_asked_so(gateway: Running) -> None:
    gateway.operator.post("/people", {"email": "gone@acme.test"})
    gateway.operator.post("/people/gone@acme.test/deactivate")
    listed = {one["email"] for one in gateway.operator.pages("/people", active=True)}
    assert "gone@acme.test" not in listed
    assert "gone@acme.test" in {one["email"] for one in gateway.operator.pages("/people", active=False)}


def test_nobody_is_not_found(gateway: Running) -> None:
    with refused("not_found"):
        gateway.operator.get("/people/none@acme.test")
    with refused("not_found"):
        gateway.operator.patch("/people/none@acme.test", {"roles": ["member"]})
    with refused("not_found"):
        gateway.operator.post("/people/none@acme.test/deactivate")
    with refused("not_found"):
        gateway.operator.get("/people/no-address")


def test_a_stranger_can_not_tell_the_difference(gateway: Running) -> None:
    stranger = Client.at_url(gateway.url, "cgt_" + "x" * 43)
    with refused("invalid_token"):
        stranger.get("/people")
    stranger.close()
