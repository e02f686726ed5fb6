"""The two eras: which revision belongs where, and what a result looks like in each."""

import json

import pytest

from callgate.errors import Refused
from callgate.wire import eras


@pytest.mark.parametrize("version", eras.LEGACY_VERSIONS)
def test_handshake_revisions_are_legacy(version: str) -> None:
    assert eras.era_of(version) == eras.LEGACY


def test_the_stateless_revision_is_modern_and_others_unknown() -> None:
    assert eras.era_of("2026-07-28") == eras.MODERN
    assert eras.era_of("2027-01-01") is None
    assert eras.era_of("") is None


def test_a_modern_result_says_its_kind_and_keeps_all_else() -> None:
    raw = b'{"content":[],"x":9007199254740993,"_meta":{"a":null}}'
    assert eras.result_for(eras.MODERN, raw) == raw[:-1] + b',"resultType":"complete"}'
    kept = eras.result_for(eras.MODERN, b'{"resultType":"input_required","ttlMs":5}')
    assert json.loads(kept) == {"resultType": "input_required", "ttlMs": 5}


def test_a_legacy_result_loses_the_modern_members_alone() -> None:
    raw = b'{"resultType":"complete","ttlMs":1,"cacheScope":"public","content":[],"_meta":{"ttlMs":1}}'
    assert eras.result_for(eras.LEGACY, raw) == b'{"content":[],"_meta":{"ttlMs":1}}'


def test_further_members_are_added_last() -> None:
    raw = eras.result_for(eras.MODERN, b'{"ttlMs":9}', {"ttlMs": b"0", "cacheScope": b'"private"'})
    assert json.loads(raw) == {"ttlMs": 0, "resultType": "complete", "cacheScope": "private"}


def test_a_result_that_is_no_object_is_refused() -> None:
    with pytest.raises(Refused):
        eras.result_for(eras.LEGACY, b"[]")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"{}", "complete"),
        (b'{"resultType":"input_required"}', "input_required"),
        (b'{"resultType":7}', "complete"),
        (b"", "complete"),
    ],
)
def test_the_kind_of_a_result(raw: bytes, kind: str) -> None:
    assert eras.result_kind(raw) == kind


def test_envelope_keys_are_taken_out_of_meta() -> None:
    meta = b'{"io.modelcontextprotocol/protocolVersion":"x","traceparent":"t","n":1.0}'
    left = eras.without(meta, eras.ENVELOPE_KEYS)
    assert {key: bytes(value) for key, value in left.items()} == {"traceparent": b'"t"', "n": b"1.0"}
