"""The life cycle of a definition: every transition, and what no history may lead to."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.fingerprints.states import next_status
from callgate.model.definition import (
    BLOCKED,
    DRIFT_DETECTED,
    PENDING_REVIEW,
    REMOVED,
    STATUSES,
    TRUSTED,
    Definition,
    Observed,
)


def known(status: str, approved: str | None, full: str = "a") -> Definition:
    return Definition(
        id="def_1", tenant="default", upstream="ups_1", kind="tool", name="t", public_name="u__t", status=status,
        raw=b"{}", core="c", full=full, approved_full=approved,
    )  # fmt: skip


def seen(full: str, quarantined: str = "") -> Observed:
    return Observed(kind="tool", name="t", raw=b"{}", core="c", full=full, quarantined=quarantined)


@pytest.mark.parametrize(
    ("current", "observed", "expected"),
    [
        (None, seen("a"), PENDING_REVIEW),
        (None, seen("a", "odd"), PENDING_REVIEW),
        (known(PENDING_REVIEW, None), seen("a"), PENDING_REVIEW),
        (known(PENDING_REVIEW, None), seen("b"), PENDING_REVIEW),
        (known(PENDING_REVIEW, None), None, REMOVED),
        (known(TRUSTED, "a"), seen("a"), TRUSTED),
        (known(TRUSTED, "a"), seen("b"), DRIFT_DETECTED),
        (known(TRUSTED, "a"), seen("a", "odd"), DRIFT_DETECTED),
        (known(TRUSTED, "a"), None, REMOVED),
        (known(DRIFT_DETECTED, "a", "b"), seen("a"), TRUSTED),
        (known(DRIFT_DETECTED, "a", "b"), seen("b"), DRIFT_DETECTED),
        (known(DRIFT_DETECTED, "a", "b"), None, REMOVED),
        (known(BLOCKED, "a"), seen("a"), BLOCKED),
        (known(BLOCKED, None), seen("b"), BLOCKED),
        (known(BLOCKED, "a"), None, BLOCKED),
        (known(REMOVED, "a"), seen("a"), TRUSTED),
        (known(REMOVED, "a"), seen("b"), DRIFT_DETECTED),
        (known(REMOVED, None), seen("a"), PENDING_REVIEW),
        (known(REMOVED, None), None, REMOVED),
        (None, None, REMOVED),
    ],
)
def test_every_transition(current: Definition | None, observed: Observed | None, expected: str) -> None:
    assert next_status(current, observed) == expected


def test_only_the_approved_hash_leads_to_trusted_whatever_the_status_was() -> None:
    for status, approved, full, odd in itertools.product(STATUSES, (None, "a", "b"), ("a", "b"), ("", "odd")):
        after = next_status(known(status, approved), seen(full, odd))
        assert after in STATUSES
        if after == TRUSTED:
            assert approved == full
            assert not odd
            assert status != BLOCKED


@given(st.lists(st.none() | st.tuples(st.sampled_from("abc"), st.sampled_from(["", "odd"])), max_size=30))
def test_no_history_without_a_reviewer_makes_a_tool_callable(history: list[tuple[str, str] | None]) -> None:
    current: Definition | None = None
    for step in history:
        observed = seen(*step) if step is not None else None
        status = next_status(current, observed)
        if current is None and observed is None:
            continue
        current = current or known(status, None, observed.full if observed else "")
        current = msgspec.structs.replace(current, status=status, full=observed.full if observed else current.full)
        assert not current.callable
        assert status in (PENDING_REVIEW, REMOVED)
