"""The key file: made once, refused when others can read it or when it is damaged."""

import stat
import threading
from pathlib import Path

import pytest

from callgate.credentials import keyfile
from callgate.errors import Refused


def test_a_key_file_is_made_for_the_owner_alone_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    keys = keyfile.load(path)
    assert len(keys) == 1
    assert len(keys[0]) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert keyfile.load(path) == keys
    assert [item.name for item in path.parent.iterdir()] == ["key"]


def test_of_several_first_starts_all_use_the_same_key(tmp_path: Path) -> None:
    found: list[tuple[bytes, ...]] = []
    starts = [threading.Thread(target=lambda: found.append(keyfile.load(tmp_path / "key"))) for _ in range(8)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert len(set(found)) == 1
    assert len(found) == 8


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_file_that_others_can_touch_stops_the_start_with_the_line_to_run(tmp_path: Path, mode: int) -> None:
    keyfile.load(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(Refused, match="chmod 600") as caught:
        keyfile.load(tmp_path / "key")
    assert caught.value.code == "bad_setting"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "nonsense\n",
        "callgate-key-1.AAAA\n",
        "callgate-key-1.%%%%\n",
        "callgate-key-2." + "A" * 43,
    ],
)
def test_a_damaged_key_file_is_refused_and_not_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(Refused, match="backup") as caught:
        keyfile.load(path)
    assert caught.value.code == "bad_setting"
    assert path.read_text() == text


def test_a_key_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(Refused, match="key"):
        keyfile.load(tmp_path / "key")


def test_more_than_one_key_is_kept_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    keys = (*keyfile.load(first), *keyfile.load(second))
    first.write_text(first.read_text() + second.read_text())
    assert keyfile.load(first) == keys
