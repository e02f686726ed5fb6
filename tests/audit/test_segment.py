"""Journal files: cut off at any byte, they give back exactly the whole records."""

import os
from pathlib import Path

import msgspec
import pytest

from callgate.audit.segment import Segment, read_back
from tests.audit.disks import add
from tests.support.events import intent, outcome

encode = msgspec.json.encode


def test_a_file_cut_off_at_any_byte_gives_back_the_whole_records(tmp_path: Path) -> None:
    events = [intent(), intent(), outcome(intent())]
    data = b"".join(encode(event) + b"\n" for event in events)
    ends = [
        data.index(b"\n", start) for start in (0, data.index(b"\n") + 1, data.index(b"\n", data.index(b"\n") + 1) + 1)
    ]
    path = tmp_path / "x.journal"
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        whole = [event for event, end in zip(events, ends, strict=True) if end <= length]
        assert [event for _, event in read_back(path)] == whole


@pytest.mark.parametrize(
    "damage",
    [b"\0" * 50, b"\0" * 10 + b'"tail"]\n', b"[]\n", b"{}\n", b'["intent",1]\n', b"\xff\xfe\n", b'["intent"'],
)
def test_what_is_no_record_is_left_out_and_the_rest_is_read(tmp_path: Path, damage: bytes) -> None:
    first, last = intent(), intent()
    path = tmp_path / "x.journal"
    path.write_bytes(encode(first) + b"\n" + damage + b"\n" + encode(last) + b"\n" + b"\0" * 5000)
    assert [event for _, event in read_back(path)] == [first, last]


def test_a_file_knows_what_is_durable_and_what_is_loaded(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path / "x.journal", 4096)
    assert segment.path.stat().st_size == 4096
    assert segment.path.stat().st_mode & 0o777 == 0o600
    add(segment, b"one\ntwo\n")
    assert segment.unloaded(6) == b"one\n"
    segment.loaded += 4
    assert segment.unloaded(100) == b"two\n"
    segment.loaded += 4
    assert segment.unloaded(100) == b""
    add(segment, b"three\n")
    segment.write(b"not durable\n")
    assert segment.unloaded(100) == b"three\n"
    segment.cut()
    segment.write(b"nor this\n")
    segment.close()
    assert segment.path.read_bytes() == b"one\ntwo\nthree\n"


def test_a_name_that_is_taken_is_an_error_and_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x.journal").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        Segment.create(tmp_path / "x.journal", 4096)
    assert (tmp_path / "x.journal").read_bytes() == b"old"


def test_a_file_for_which_there_is_no_room_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"space|large"):
        Segment.create(tmp_path / "x.journal", 1 << 55)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_an_error_and_not_durable(tmp_path: Path) -> None:
    (tmp_path / "x.journal").touch()
    segment = Segment(tmp_path / "x.journal", os.open(tmp_path / "x.journal", os.O_RDONLY))
    with pytest.raises(OSError, match="descriptor"):
        segment.write(b"one\n")
    assert segment.durable == segment.end == 0
    segment.delete()
