"""Private homes: made once, never trusted afterwards."""

import os
import stat
from pathlib import Path

import pytest

from callgate.upstreams import sandbox_homes as homes
from callgate.upstreams.sandbox_spec import IsolationError
from tests.upstreams.sandbox_support import AS_ROOT, place

needs_root = pytest.mark.skipif(not AS_ROOT, reason="the tests do not run as root")


@pytest.fixture
def base():
    with place("self") as made:
        yield made


def test_a_home_of_ones_own_is_closed_to_others(base: Path) -> None:
    home = homes.home_of_self(base / "run", "files")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((base / "run").stat().st_mode) == 0o711
    assert homes.home_of_self(base / "run", "files") == home


@needs_root
def test_each_home_has_an_owner_of_its_own_who_stays(base: Path) -> None:
    owners = {}
    for name in [f"upstream{number}" for number in range(20)]:
        home, uid = homes.home_of_other(base / "run", name)
        assert uid in homes.USER_IDS
        assert (home.stat().st_uid, home.stat().st_gid) == (uid, uid)
        owners[name] = uid
    assert len(set(owners.values())) == 20
    assert homes.home_of_other(base / "run", "upstream7")[1] == owners["upstream7"]


@needs_root
def test_when_all_user_ids_are_taken_the_next_home_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "USER_IDS", range(58000, 58002))
    homes.home_of_other(base / "run", "a")
    homes.home_of_other(base / "run", "b")
    with pytest.raises(IsolationError, match="are taken"):
        homes.home_of_other(base / "run", "c")


@needs_root
def test_a_runtime_directory_that_others_cannot_reach_is_named(base: Path) -> None:
    (base / "closed").mkdir(mode=0o700)
    with pytest.raises(IsolationError, match="closed is closed to them"):
        homes.home_of_other(base / "closed" / "run", "a")


@pytest.mark.parametrize("what", ["link", "file"])
def test_a_home_that_is_not_what_it_was_made_as_is_refused(base: Path, what: str) -> None:
    (base / "run").mkdir(mode=0o711)
    home = base / "run" / "files@self"
    home.symlink_to("/etc") if what == "link" else home.write_text("")
    with pytest.raises(IsolationError, match="remove it"):
        homes.home_of_self(base / "run", "files")


@needs_root
def test_a_home_of_a_stranger_is_refused(base: Path) -> None:
    home, _ = homes.home_of_other(base / "run", "files")
    os.chown(home, 1000, 1000)
    with pytest.raises(IsolationError, match="remove it"):
        homes.home_of_other(base / "run", "files")


def test_a_runtime_directory_that_others_can_write_is_refused(base: Path) -> None:
    (base / "run").mkdir()
    (base / "run").chmod(0o777)
    with pytest.raises(IsolationError, match="closed to writers"):
        homes.home_of_self(base / "run", "files")


def test_a_runtime_directory_that_cannot_be_made_says_why(base: Path) -> None:
    (base / "run").write_text("")
    with pytest.raises(IsolationError, match="cannot be made"):
        homes.home_of_self(base / "run" / "below", "files")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", "a b", "a" * 65, "x\x00"])
def test_an_upstream_that_cannot_name_a_directory_is_refused(name: str) -> None:
    with pytest.raises(IsolationError):
        homes.home_name(name, "")


def test_identities_have_homes_apart_and_are_not_named() -> None:
    names = {homes.home_name("files", who) for who in ("", "ana@acme.test", "bob@acme.test")}
    assert len(names) == 3
    assert not [name for name in names if "@" in name or "ana" in name]


def test_the_default_place_depends_on_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = homes.default_runtime_dir(tmp_path / "a"), homes.default_runtime_dir(tmp_path / "b")
    assert first != second
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert str(homes.default_runtime_dir(tmp_path)).startswith("/state/callgate/stdio/")
