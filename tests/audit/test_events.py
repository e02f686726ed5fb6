"""Events by construction: no free text, and names from outside only as a keyed hash."""

from callgate.audit import events
from callgate.model.caller import Actor
from callgate.model.event import Change
from tests.support.events import intent, outcome


def mac(tenant: str, purpose: str, data: bytes) -> bytes:
    return f"{tenant}/{purpose}/{len(data)}".encode()


def test_a_change_names_its_actor_and_subject() -> None:
    actor = Actor(tenant="acme", kind="operator", id="operator:0", roles=("admin",))
    made = events.change(actor, "tools.approve", "def_1", "a", "b")
    assert (made.tenant, made.actor, made.action, made.subject, made.before, made.after) == (
        "acme", "operator:0", "tools.approve", "def_1", "a", "b",
    )  # fmt: skip
    assert made.id.startswith("chg_")


def test_a_name_from_outside_is_a_hash_and_a_length() -> None:
    assert events.hidden(mac, "acme", "") == ("", 0)
    assert events.hidden(mac, "acme", "hünter2") == (b"acme/unknown-name/8".hex(), 8)
    assert events.hidden(mac, "acme", "\ud800")[1] == 3


def test_what_a_failed_record_means() -> None:
    call = intent()
    refused, unknown = events.not_recorded(call), events.not_recorded(outcome(call))
    assert refused is not None
    assert unknown is not None
    assert (refused.outcome, refused.code, refused.at) == ("refused", "not_recorded", call.at)
    assert (unknown.outcome, unknown.at) == ("unknown", call.at + 7)
    assert events.not_recorded(Change("chg_1", 1, "t", "a", "b", "c")) is None
