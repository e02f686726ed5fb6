"""The audit through the API: every change, filtered, followed and exported."""

import csv
import io
import threading

import pytest

from callgate.control.audit import EventView, micros
from tests.support.refusals import refused
from tests.support.running import Running


def test_a_change_is_on_record_with_who_and_what(gateway: Running) -> None:
    admin, _ = gateway.person("boss@acme.test", "admin")
    person = admin.post("/people", {"email": "hired@acme.test"})
    last = gateway.operator.get("/audit/tail", limit=1)["items"][0]
    assert (last["type"], last["actor"], last["action"], last["subject"]) == (
        "change",
        "boss@acme.test",
        "people.add",
        person["id"],
    )
    assert last["time"].endswith("Z")


def test_a_refused_change_leaves_no_record(gateway: Running) -> None:
    gateway.operator.post("/people", {"email": "once@acme.test"})
    before = gateway.operator.get("/audit/tail")["next"]
    with refused("conflict"):
        gateway.operator.post("/people", {"email": "once@acme.test"})
    assert gateway.operator.get("/audit/tail")["next"] == before


def test_pages_hold_every_event_once_in_order(gateway: Running) -> None:
    for number in range(5):
        gateway.operator.post("/people", {"email": f"a{number}@audit.test"})
    whole = [one["id"] for one in gateway.operator.pages("/audit/events")]
    parts: list[str] = []
    after = None
    while True:
        page = gateway.operator.get("/audit/events", limit=2, after=after)
        parts += [one["id"] for one in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert parts == whole
    assert whole == sorted(whole)


def test_filters_narrow_and_unknown_names_match_nothing(gateway: Running) -> None:
    assert gateway.operator.get("/audit/events", type="call")["items"] == []
    for wanted in ({"person": "none@acme.test"}, {"upstream": "none"}, {"tool": "none__x"}):
        assert gateway.operator.get("/audit/events", **wanted)["items"] == []
    assert gateway.operator.get("/audit/events", since="1h")["items"]
    assert gateway.operator.get("/audit/events", since="2100-01-01")["items"] == []
    assert gateway.operator.get("/audit/events", until="2000-01-01T00:00:00Z")["items"] == []


def test_the_tail_waits_for_the_next_event(gateway: Running) -> None:
    gateway.operator.post("/people", {"email": "before@tail.test"})
    cursor = gateway.operator.get("/audit/tail")["next"]
    follower, _ = gateway.person("follower@tail.test", "auditor")
    cursor = gateway.operator.get("/audit/tail")["next"]
    found: list[dict[str, object]] = []

    def follow() -> None:
        found.extend(follower.get("/audit/tail", after=cursor, wait=20)["items"])

    thread = threading.Thread(target=follow)
    thread.start()
    gateway.operator.post("/people", {"email": "after@tail.test"})
    thread.join(timeout=30)
    assert [one["action"] for one in found] == ["people.add"]


def test_nothing_new_is_an_empty_answer_with_the_same_cursor(gateway: Running) -> None:
    cursor = gateway.operator.get("/audit/tail")["next"]
    assert gateway.operator.get("/audit/tail", after=cursor, wait=0.3) == {"items": [], "next": cursor}


def test_the_export_is_csv_with_every_field(gateway: Running) -> None:
    text = b"".join(gateway.operator.lines("/audit/export.csv")).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert set(rows[0]) == set(EventView.__struct_fields__)
    assert len(rows) == len(list(gateway.operator.pages("/audit/events")))


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01", "2026-02-30", "30x", "2026-01-01T25:00"])
def test_a_time_that_does_not_exist_is_refused(gateway: Running, time: str) -> None:
    with refused("validation"):
        gateway.operator.get("/audit/events", since=time)


def test_times_are_read_as_utc() -> None:
    assert micros("1970-01-02") == 86_400_000_000
    assert micros("1970-01-01T00:00:01.5Z") == 1_500_000
    assert micros(None) is None
