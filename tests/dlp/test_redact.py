"""Redaction: nothing is left, nothing is found twice, JSON stays JSON, and a stream is as a whole."""

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.dlp import stream, walk
from callgate.dlp.engine import Match, matches
from callgate.dlp.redact import ACTIONS, Mac, Redaction, counted, redacted
from callgate.dlp.stream import Stream
from callgate.dlp.tables import tables
from callgate.dlp.walk import TooDeep, clean, found_in, redacted_json

EXAMPLES = [text for one in tables().detectors for text in one.examples]
NAMED = "[REDACTED:named_member]"
KEY = "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a"


def keyed(key: bytes) -> Mac:
    return lambda data: hmac.new(key, data, hashlib.sha256).digest()


TEXTS = st.lists(st.sampled_from(EXAMPLES) | st.text(max_size=20), max_size=5).map("\n".join)
HOWS = st.sampled_from([Redaction(action, mac=keyed(b"k")) for action in ACTIONS])


def test_what_stands_there_afterwards() -> None:
    text = f"a {KEY} b"
    assert redacted(text, Redaction())[0] == "a [REDACTED:github_token] b"
    assert redacted(text, Redaction("partial"))[0] == "a [github_token…8B4a] b"
    assert redacted(text, Redaction("remove"))[0] == "a  b"
    one, other = (redacted(text, Redaction("hash", mac=keyed(key)))[0] for key in (b"1", b"2"))
    assert one.startswith("a [github_token#")
    assert one != other
    assert one == redacted(text, Redaction("hash", mac=keyed(b"1")))[0]
    assert redacted("a@b.example", Redaction("partial"))[0] == "[REDACTED:email]"  # too short to show a part of
    assert counted(redacted(f"{KEY} {KEY} a@b.example", Redaction())[1]) == {"github_token": 2, "email": 1}


def test_only_what_is_asked_for_is_replaced() -> None:
    text = f"{KEY} and ana@acme.example and bo@other.example"
    assert "ana@acme.example" in redacted(text, Redaction(kinds=frozenset({"secret"})))[0]
    assert KEY in redacted(text, Redaction(detectors=frozenset({"email"})))[0]
    left = redacted(text, Redaction(allowed=frozenset({"@acme.example", KEY.lower()})))[0]
    assert (KEY in left, "ana@acme.example" in left, "bo@other.example" in left) == (True, True, False)


@given(TEXTS, HOWS)
def test_redacting_twice_is_redacting_once(text: str, how: Redaction) -> None:
    once, done = redacted(text, how)
    if how.action == "remove":
        return  # what is left can join into something new, and is then taken away too
    assert redacted(once, how) == (once, ())
    for one in done:
        value = text[one.start : one.end]
        assert value not in once or value in "".join(text.split(value))


def test_json_is_searched_by_member_and_at_any_depth() -> None:
    value = {
        "a/b": [{"password": "CTuKxKE7zbXK!M51"}, 1, None, True],
        "card": 4012888888881881,
        KEY: "name",
        "nested": json.dumps({"k": KEY}).replace("ghp", "\\u0067hp"),
        "blob": base64.b64encode(f"token {KEY} here".encode()).decode(),
        "fine": "nothing",
    }
    found = [(one.path, one.match.detector, one.key) for one in found_in(value)]
    assert found == [
        ("/a~1b/0/password", "generic_assignment", False),
        ("/card", "credit_card", False),
        (f"/{KEY}", "github_token", True),
        ("/nested", "github_token", False),
        ("/blob", "github_token", False),
    ]
    raw, done = redacted_json(json.dumps(value).encode(), Redaction())
    assert len(done) == 5
    assert json.loads(raw) == {
        "a/b": [{"password": "[REDACTED:generic_assignment]"}, 1, None, True],
        "card": 0,
        "[REDACTED:github_token]": "name",
        "nested": '{"k":"[REDACTED:github_token]"}',
        "blob": "[REDACTED:github_token]",
        "fine": "nothing",
    }
    assert redacted_json(raw, Redaction()) == (raw, ())


def test_what_stands_under_a_name_is_replaced_whatever_it_is_and_types_stay() -> None:
    value = {
        "user": {"Name": "Ana", "age": 41, "admin": True, "tags": ["x", None, ""]},
        "note": f"ana@acme.example {KEY}",
    }
    how = Redaction(members=frozenset({"user"}))
    raw, done = redacted_json(json.dumps({**value, "text": json.dumps(value)}).encode(), how)
    clean = {"user": {"Name": NAMED, "age": 0, "admin": False, "tags": [NAMED, None, ""]}, "note": value["note"]}
    shown = json.loads(raw)
    assert json.loads(shown.pop("text")) == clean
    assert shown == clean
    assert counted(done) == {"named_member": 8}
    both = Redaction(members=frozenset({"user"}), kinds=frozenset({"secret"}))
    shown = json.loads(redacted_json(json.dumps(value).encode(), both)[0])
    assert shown["note"] == "ana@acme.example [REDACTED:github_token]"


def test_what_is_not_replaced_keeps_its_spelling() -> None:
    kept = b'"big":9007199254740993,"float":1.0,"far":1e400,"odd":"\\ud800","e":"\\u00e9"'
    shown, done = redacted_json(b'{%b,"key":"%b"}' % (kept, KEY.encode()), Redaction())
    assert len(done) == 1
    assert kept in shown


def test_a_member_that_is_given_twice_hides_nothing() -> None:
    raw = b'{"a":"' + KEY.encode() + b'","a":"fine"}'
    assert redacted_json(raw, Redaction())[0] == b'{"a":"fine"}'
    nested = json.dumps({"text": raw.decode()}).encode()
    assert KEY.encode() not in redacted_json(nested, Redaction())[0]


@pytest.mark.parametrize(
    "text",
    [
        KEY, f"<b>{KEY}</b>", f"ü{KEY}ü", f"token_{KEY}", json.dumps({"a": json.dumps([KEY])}),
        f"result: {{'a': '{KEY}'}}",
        json.dumps({"a": KEY}) + "\n" + json.dumps({"b": 1}), '{"a":"\\u0067' + KEY[1:] + '"}',
        "data: " + base64.b64encode(f"the token {KEY} is".encode()).decode() + " end",
        "data: " + base64.urlsafe_b64encode(f"???>>> {KEY}".encode()).decode().rstrip("="),
    ],
)  # fmt: skip
def test_no_wrapping_that_servers_use_hides_a_value(text: str) -> None:
    raw, done = redacted_json(json.dumps({"t": [text]}).encode(), Redaction())
    assert done
    shown = json.loads(raw)["t"][0]
    assert KEY not in shown
    assert base64.b64encode(KEY.encode()).decode()[4:-4] not in shown


def test_what_is_too_deep_is_an_error() -> None:
    value: object = KEY
    for _ in range(walk.MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(TooDeep):
        list(found_in(value))
    with pytest.raises(TooDeep):
        redacted_json(json.dumps(value).encode(), Redaction())


def through(text: bytes, cuts: list[int]) -> tuple[str, list[Match]]:
    reading = Stream(Redaction())
    places = sorted({min(cut, len(text)) for cut in cuts})
    shown = [reading.feed(text[start:end]) for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    return "".join([*shown, reading.end()]), reading.found


SMALL = {"PART": 400, "_BREAK_AFTER": 200, "_UNBROKEN": 1600, "_AHEAD": 900, "LONGEST": 700}
LONG = st.lists(st.sampled_from([*EXAMPLES, "word ", "\n", "é" * 7, "x" * 90, " = ", "password:\n"]), max_size=60)


@settings(max_examples=60)
@given(LONG, st.lists(st.integers(0, 9000), max_size=6))
def test_a_text_is_redacted_in_the_same_way_however_it_is_cut(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts).encode()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (
            ("PART", 400),
            ("_BREAK_AFTER", 200),
            ("_UNBROKEN", 1600),
            ("_AHEAD", 900),
            ("LONGEST", 700),
        ):
            patched.setattr(stream, name, value)
        whole, found = through(text, [])
        assert through(text, cuts) == (whole, found)
        assert through(text, list(range(0, len(text), 97))) == (whole, found)


def test_a_long_stream_leaves_nothing_behind_and_holds_little() -> None:
    reading = Stream(Redaction())
    most = 0
    shown = []
    for number in range(3000):
        line = f"row {number} of the table with some words\n" * 3
        if number % 100 == 50:
            line += f"-----BEGIN PRIVATE KEY-----\n{'A1b2' * 400}\n-----END PRIVATE KEY-----\n{KEY}\n"
        shown.append(reading.feed(line.encode()))
        most = max(most, len(reading._held))
    text = "".join([*shown, reading.end()])
    assert KEY not in text
    assert "A1b2" not in text
    assert text.count("[REDACTED:private_key]") == text.count("[REDACTED:github_token]") == 30
    assert matches(text) == ()
    assert most < 200_000


def test_bytes_that_are_no_text_are_passed_as_such() -> None:
    reading = Stream(Redaction())
    assert (
        reading.feed(b"\xff\xfe ") + reading.feed(KEY.encode()) + reading.end()
        == "\ufffd\ufffd [REDACTED:github_token]"
    )


PARTS = st.sampled_from(
    [KEY, "a@b.example", "4111 1111 1111 1111", "plain", "", "x" * 30, base64.b64encode(KEY.encode()).decode()]
)
TREES = st.recursive(
    PARTS | st.integers() | st.none() | st.text(max_size=10) | PARTS.map(lambda part: json.dumps({"inner": part})),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "password", KEY, "n"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(TREES)
def test_what_is_taken_for_clean_holds_nothing(value: object) -> None:
    raw = json.dumps(value).encode()
    found = redacted_json(raw, Redaction())[1]
    assert not (clean(raw) and found)


@given(TREES)
def test_a_large_value_is_redacted_as_a_small_one(value: object) -> None:
    """Padding makes it large, so that parts of it are skipped together."""
    raw = json.dumps(value).encode()
    small = json.loads(redacted_json(raw, Redaction())[0])
    padded = json.dumps([*(["nothing here"] * 300), value, *([{"n": "nothing"}] * 300)]).encode()
    large = json.loads(redacted_json(padded, Redaction())[0])
    assert large[300] == small
    assert large[:300] == ["nothing here"] * 300


def test_of_members_given_twice_both_are_looked_at_in_a_large_value() -> None:
    padding = json.dumps(["x"] * 2000)
    raw = f'{{"a":"{KEY}","a":"plain","b":{padding}}}'.encode()
    assert KEY.encode() not in redacted_json(raw, Redaction())[0]
