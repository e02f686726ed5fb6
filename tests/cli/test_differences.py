"""What `tools diff` prints: weightiest first, each line of a text with its sign, no escape sequence but our own."""

from typing import Any

from callgate.cli.differences import lines


def change(**members: Any) -> dict[str, Any]:
    base = {"path": "/description", "kind": "description_changed", "severity": "medium", "what": "It is not the same."}
    return {**base, "before": "a b", "after": "a c", "parts": [], **members}


PARTS = [{"op": "equal", "text": "a "}, {"op": "removed", "text": "b"}, {"op": "added", "text": "c"}]


def test_the_weightiest_come_first_under_their_severity() -> None:
    found = list(lines([change(), change(path="/name", severity="high")], colour=False))
    assert found == [
        "HIGH (1)", "  description_changed  /name", "    It is not the same.", "    - a b", "    + a c",
        "MEDIUM (1)", "  description_changed  /description", "    It is not the same.", "    - a b", "    + a c",
    ]  # fmt: skip


def test_on_a_terminal_the_words_that_differ_are_coloured() -> None:
    assert list(lines([change(parts=PARTS)], colour=True))[-2:] == [
        "    - a \x1b[31mb\x1b[0m",
        "    + a \x1b[32mc\x1b[0m",
    ]


def test_a_side_that_is_absent_has_no_line() -> None:
    found = list(lines([change(before=None, parts=PARTS[2:])], colour=False))
    assert found[3:] == ["    + c"]


def test_each_line_of_a_text_has_its_sign_and_escape_sequences_do_nothing() -> None:
    text = "x\nHIGH (9)\x1b[2J\r"
    found = list(lines([change(after=text, what="\x1b]0;", path="/\u202e")], colour=True))
    assert found[-2:] == ["    + \x1b[32mx\x1b[0m", "    + \x1b[32mHIGH (9)\\u001b[2J\\u000d\x1b[0m"]
    assert "\\u202e" in found[1]
    assert "\\u001b]0;" in found[2]
