"""Which files are granted, and which never."""

from pathlib import Path

import pytest

from callgate.upstreams import sandbox_grants as grants
from callgate.upstreams.sandbox_grants import Grants
from callgate.upstreams.sandbox_spec import ChildSpec


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a data directory, tools, a project and documents."""
    for name in (
        "home/.callgate/data", "home/.callgate/run/me", "home/.callgate/run/other", "home/docs", "home/.ssh",
        "home/.local/bin", "home/.local/share/keyrings", "home/.nvm/v22/bin", "home/.nvm/v22/lib/node_modules/npm/bin",
        "home/project/build", "home/project/node_modules", "srv/db",
    ):  # fmt: skip
        (tmp_path / name).mkdir(parents=True)
    for name in (
        "home/.local/bin/uvx", "home/.nvm/v22/bin/node", "home/.nvm/v22/lib/node_modules/npm/bin/npx.js",
        "home/project/build/server.js", "srv/db/data.sqlite",
    ):  # fmt: skip
        (tmp_path / name).write_text("#!/usr/bin/env node\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "home/.nvm/v22/bin/npx").symlink_to("../lib/node_modules/npm/bin/npx.js")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path}/home/.nvm/v22/bin:/usr/bin")
    return tmp_path


def granted(world: Path, command: str, *args: str, **more: object) -> Grants:
    home = world / "home/.callgate/run/me"
    spec = ChildSpec("x", command, home.parent, (world / "home/.callgate/data",), args=args, **more)
    program = grants.find_program(command, str(world / "home/.nvm/v22/bin"))
    assert program is not None
    return grants.grants(spec, program, home)


def test_system_directories_are_read_and_never_written(world: Path) -> None:
    listed = granted(world, "/bin/sh", "/usr/share", "/etc/ssl", "/usr/lib/x.conf")
    assert {"/usr", "/etc/resolv.conf", "/etc/ssl/certs", "/proc"} <= set(listed.read)
    assert not [path for path in listed.write if path.startswith(("/usr", "/etc", "/bin", "/proc", "/sys"))]
    assert "/etc/shadow" not in listed.read
    assert "/etc" not in listed.read


def test_the_private_home_is_written_and_the_homes_of_others_are_not_there(world: Path) -> None:
    listed = granted(world, "/bin/sh", str(world / "home/.callgate/run/other"), str(world / "home/.callgate"))
    assert str(world / "home/.callgate/run/me") in listed.write
    assert str(world / "home/.callgate/run/other") in listed.refused
    assert str(world / "home/.callgate") in listed.refused


@pytest.mark.parametrize("named", ["home", "", "home/.callgate/data", "home/.callgate/data/key"])
def test_what_holds_or_lies_in_a_private_path_is_never_granted(world: Path, named: str) -> None:
    (world / "home/.callgate/data/key").write_text("x")
    listed = granted(world, "/bin/sh", str(world / named))
    assert str(world / named) not in listed.read + listed.write
    assert str(world / named) in listed.refused


def test_a_link_into_a_private_path_is_seen_through(world: Path) -> None:
    (world / "home/docs/link").symlink_to(world / "home/.callgate/data")
    listed = granted(world, "/bin/sh", str(world / "home/docs/link"))
    assert str(world / "home/docs/link") in listed.refused


def test_named_directories_are_written(world: Path) -> None:
    docs = str(world / "home/docs")
    assert docs in granted(world, "/bin/sh", docs).write
    assert docs in granted(world, "/bin/sh", f"--root={docs}").write
    assert docs in granted(world, "/bin/sh", env={"ROOT": docs}).write
    assert docs in granted(world, "/bin/sh", cwd=Path(docs)).write
    assert docs in granted(world, "/bin/sh", write_paths=(Path(docs),)).write
    assert docs in granted(world, "/bin/sh", read_paths=(Path(docs),)).read
    assert docs not in granted(world, "/bin/sh", "relative/docs", "https://x/docs", env={"PATH": docs}).write


def test_a_named_file_comes_with_its_directory_but_not_with_the_home(world: Path) -> None:
    listed = granted(world, "/bin/sh", str(world / "srv/db/data.sqlite"), str(world / "srv/db/new.sqlite"))
    assert {str(world / "srv/db"), str(world / "srv/db/data.sqlite")} <= set(listed.write)
    assert str(world / "home") not in granted(world, "/bin/sh", str(world / "home/memory.json")).write


def test_a_program_in_a_file_is_read_with_its_project_and_not_written(world: Path) -> None:
    listed = granted(world, "/bin/sh", str(world / "home/project/build/server.js"))
    assert str(world / "home/project") in listed.read
    assert not [path for path in listed.write if "project" in path]
    package = str(world / "home/.nvm/v22/lib/node_modules/npm/bin/npx.js")
    assert package[: package.index("/npm")] in granted(world, "/bin/sh", package).read


def test_a_tool_comes_with_its_directory_its_links_and_its_interpreter(world: Path) -> None:
    listed = granted(world, "npx")
    assert {str(world / "home/.nvm/v22"), str(world / "home/.nvm/v22/lib/node_modules")} <= set(listed.read)
    assert not [path for path in listed.read + listed.write if path.endswith((".ssh", "/home"))]


def test_a_tool_in_dot_local_does_not_open_the_rest_of_dot_local(world: Path) -> None:
    listed = granted(world, str(world / "home/.local/bin/uvx"))
    assert str(world / "home/.local/bin") in listed.read
    assert str(world / "home/.local/share/uv") in listed.read
    assert not {str(world / "home/.local"), str(world / "home/.local/share")} & set(listed.read + listed.write)


def test_bubblewrap_binds_only_what_is_granted() -> None:
    argv = grants.bubblewrap_arguments("/usr/bin/bwrap", Grants(["/usr", "/proc"], ["/dev/null", "/srv"], []), "/srv")
    assert argv[-3:] == ["--chdir", "/srv", "--"]
    assert " --ro-bind-try /usr /usr " in " ".join(argv)
    assert " --bind-try /srv /srv " in " ".join(argv)
    assert "--unshare-pid" in argv
    assert "/dev/null" not in argv
