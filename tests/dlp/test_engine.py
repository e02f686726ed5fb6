"""Where values stand: exact places, overlaps, look-alikes, and texts that try to take time."""

import json
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.dlp import checksums, engine
from callgate.dlp.engine import LONGEST, Match, TooMany, matches
from callgate.dlp.tables import tables

EXAMPLES = [(one.id, text) for one in tables().detectors for text in one.examples]
KEY = "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("key=", "&x=1"),
        ("\u00e9\U0001f600 ", " \u202e"),
        ('{"args":{"note":"', '"}}'),
        ("<p>", "</p>"),
        ("\ud800 ", ""),
    ],
)
def test_a_place_counts_characters(before: str, after: str) -> None:
    found = matches(before + KEY + after)
    assert found == (Match("github_token", "secret", len(before), len(before) + len(KEY)),)


def test_a_private_key_is_found_to_its_end_however_it_is_written() -> None:
    body = "A1b2" * 100
    for text in (
        f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----",
        f"-----BEGIN RSA PRIVATE KEY-----\\n{body}\\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN OPENSSH PRIVATE KEY-----\r\n{body}\r\n-----END OPENSSH PRIVATE KEY-----",
    ):
        assert [(one.start, one.end) for one in matches(f"a {text} b")] == [(2, 2 + len(text))]
    cut = f"-----BEGIN PRIVATE KEY-----\n{body}"
    assert [(one.start, one.end) for one in matches(cut)] == [(0, len(cut))]
    endless = "-----BEGIN PRIVATE KEY-----" + "A" * 3 * LONGEST
    assert matches(endless)[0].end == len("-----BEGIN PRIVATE KEY-----") + LONGEST


@pytest.mark.parametrize("between", [" ", "\n", ", ", "|"])
def test_values_side_by_side_are_all_found(between: str) -> None:
    for value in ("4012888888881881", "262-82-3920", "DE75512108001245126199", "+44 20 7946 0958", "203.0.113.77"):
        assert len(matches(between.join([value] * 3))) == 3, value
    assert [one.detector for one in matches("ref 1234 4012 8888 8888 1881")] == ["credit_card"]


def test_of_two_that_overlap_the_secret_counts() -> None:
    text = "https://bot:P9IGwJUnM5WP@git.example.org/x"
    assert [one.detector for one in matches(text)] == ["url_password"]


@pytest.mark.parametrize(
    "text",
    [
        "10a0428a-ee72-4431-8d1e-b8039311b551",
        "HEAD is now at d193828efbf9a78bcb85fdbc714ddb60dcf9a219",
        "sha256:61b1b05cffc2618203cba5e72f6dbba9ef3d204930782f28e4fb6ab9689b4dfe",
        "ISBN 978-3-16-148410-0",
        '"id": 1184738263891746816',
        "2026-11-22T14:00:00Z",
        "arn:aws:iam::123456789012:role/Admin",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIRJ17b3qfd8lIMD1ev8RaHaRuTyOLNdCjy652k9HBnC7 me@host",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "max_tokens=2048 token_type: bearer, next_token: null",
        "password: your-password-here",
        "export TOKEN=$GITHUB_TOKEN; API_KEY=${API_KEY}",
        '{"type": "string", "description": "API key: see https://docs.example/keys"}',
        "v10.1.2.3 and ==1.2.3.4 and 255.255.255.0 and 127.0.0.1",
        "tracking 4155550132999 part 415-555",
        "@decorator git@github.com:org/repo.git @scope/pkg@1.2.3 x@y",
        "max-width:100px;color:#ff00ff;12:34:56",
    ],
)
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    assert matches(text) == ()


@given(st.lists(st.sampled_from(EXAMPLES), max_size=4), st.randoms())
def test_what_is_found_alone_is_found_among_others(chosen: list[tuple[str, str]], random: Random) -> None:
    lines = [text for _, text in chosen] + ["plain words", "1 + 1"]
    random.shuffle(lines)
    found = matches("\n\n".join(lines))
    assert {name for name, text in chosen if name in {one.detector for one in matches(text)}} <= {
        one.detector for one in found
    } | {"private_key"}
    assert all(one.end <= other.start for one, other in pairwise(found))


@given(st.text(max_size=300))
def test_any_text_can_be_searched(text: str) -> None:
    assert all(0 <= one.start < one.end <= len(text) for one in matches(text))


@pytest.mark.parametrize(
    "piece",
    [
        "4",
        "4-",
        "a@",
        "a@b.",
        "a.",
        "token=",
        "eyJA",
        "a://",
        "-----BEGIN PRIVATE KEY-----",
        "1:",
        "+1 ",
        "AB12 ",
        "é@b.de ",
    ],
)
def test_the_work_is_bounded_by_the_length(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No check is asked more often than the text has characters, and each sees little: with re2 that is linear."""
    asked = 0

    def counted(check: object) -> object:
        def wrapped(value: str, before: str, after: str) -> bool:
            nonlocal asked
            asked += 1
            assert len(before) <= 60
            assert len(after) <= 60
            return bool(check(value, before, after))  # type: ignore[operator]

        return wrapped

    monkeypatch.setattr(tables(), "checks", [counted(check) for check in tables().checks])
    text = piece * (20_000 // len(piece))
    matches(text)
    assert asked <= len(text)


def test_too_many_values_are_an_error_and_not_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST", 3)
    assert len(matches("a@b.example " * 3)) == 3
    with pytest.raises(TooMany):
        matches("a@b.example " * 4)


def test_check_digits() -> None:
    assert checksums.luhn("4111111111111111")
    assert not checksums.luhn("4111111111111112")
    assert checksums.mod97("GB82WEST12345698765432")
    assert not checksums.mod97("GB82WEST12345698765431")
    assert checksums.verhoeff("2363")
    assert not checksums.verhoeff("2364")
    assert checksums.crc32_base62("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ" + "0mLq17")
    assert not checksums.crc32_base62("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ" + "0mLq18")
    assert json.dumps(checksums.cpf("11111111111")) == "false"
