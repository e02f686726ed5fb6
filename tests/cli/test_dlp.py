"""`callgate dlp`: a file of texts, offline; it prints places and kinds, never a value."""

import json
from pathlib import Path

from tests.cli.test_scan import callgate

KEY = "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a"


def lines(*texts: object) -> bytes:
    return b"".join(json.dumps({"id": at, "text": text}).encode() + b"\n" for at, text in enumerate(texts))


def test_each_line_gets_its_matches_in_order(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(lines("nothing", f"é {KEY}") + b"\n" + lines("ana@acme.example"))
    done = callgate("dlp", str(path), "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"id": 0, "matches": []},
        {"id": 1, "matches": [{"detector": "github_token", "start": 2, "end": 42}]},
        {"id": 0, "matches": [{"detector": "email", "start": 0, "end": 16}]},
    ]


def test_no_value_is_printed() -> None:
    done = callgate("dlp", "-", stdin=lines(KEY))
    assert done.stdout == b"0: secret github_token 0-40\n"


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    for bad in (b"{", b'{"id": 1}', b'{"id": 1, "text": 7}', b"\xff\n"):
        done = callgate("dlp", "-", stdin=lines("x") + bad)
        assert (done.returncode, b"Line 2 is no JSON object" in done.stderr) == (1, True)
    assert callgate("dlp", str(tmp_path / "gone")).returncode == 1
