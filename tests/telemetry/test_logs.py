"""Logs: known fields only, nothing that somebody else wrote, nothing that could move a terminal's cursor."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from callgate.telemetry import logs

CANARY = "canary-4711"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    found = io.StringIO()
    logs.configure("info", found, plain=False)
    yield found
    root.handlers, root.level = before, level
    structlog.reset_defaults()


def written(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_a_time_a_level_an_event_and_known_fields(out: io.StringIO) -> None:
    logs.get_logger("here").warning("upstream is broken", upstream="github", code="upstream_timeout")
    [line] = written(out)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "here",
        "event": "upstream is broken",
        "upstream": "github",
        "code": "upstream_timeout",
    }


def test_a_field_that_is_not_known_is_dropped(out: io.StringIO) -> None:
    logs.get_logger("here").info("called", arguments=CANARY, headers={"x": CANARY}, tenant="default")
    assert CANARY not in out.getvalue()
    assert written(out)[0]["tenant"] == "default"


def test_of_an_exception_only_class_and_places_are_written(out: io.StringIO) -> None:
    def fail() -> None:
        raise ValueError(CANARY)

    try:
        fail()
    except ValueError:
        logs.get_logger("here").exception("it failed")
    assert CANARY not in out.getvalue()
    assert written(out)[0]["error"].startswith(f"ValueError at {__name__}:")


def test_other_loggers_keep_their_constant_text_without_arguments(out: io.StringIO) -> None:
    logging.getLogger("library").error("could not read %s", CANARY, exc_info=KeyError(CANARY))
    logging.getLogger("uvicorn.access").error("%s", CANARY)
    logging.getLogger("alembic.runtime").info("chatter")
    [line] = written(out)
    assert (line["event"], line["logger"], line["error"]) == ("could not read %s", "library", "KeyError at unknown")


@pytest.mark.parametrize("char", ["\x1b", "\r", "\n", "\x00", "\u202e", "\u200b", "\u2028", "\ud800", "\U000e0041"])
def test_characters_that_hide_or_act_are_escaped(out: io.StringIO, char: str) -> None:
    logs.get_logger("here").info("named", upstream=f"a{char}b")
    text = out.getvalue()
    assert len(text.splitlines()) == 1
    assert char not in text.rstrip("\n")
    assert "\\\\u" in text.lower()


def test_a_long_value_is_cut(out: io.StringIO) -> None:
    logs.get_logger("here").info("long", reason="x" * 10_000)
    assert len(written(out)[0]["reason"]) == logs.MAX_VALUE


def test_the_level_is_kept_to(out: io.StringIO) -> None:
    logs.configure("error", out, plain=False)
    logs.get_logger("here").warning("not this")
    logs.get_logger("here").error("but this")
    assert [line["event"] for line in written(out)] == ["but this"]


def test_a_person_at_a_terminal_gets_a_plain_line(out: io.StringIO) -> None:
    logs.configure("info", out, plain=True)
    logs.get_logger("here").info("upstream is up", upstream="github")
    assert out.getvalue()[8:] == " info    upstream is up upstream=github\n"
