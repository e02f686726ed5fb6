"""stdio children are hostile (design.md §4): a child that tries everything, below gateways of both kinds of user.

The gateway is a small program with the real `spawn`, run as root and as nobody; the child is a real process. A way of
isolation that this machine does not offer to that user is skipped with the gateway's own reason.
"""

import functools
import os
import signal
import uuid
from pathlib import Path

import pytest

from callgate.upstreams import sandbox
from callgate.upstreams.sandbox import Capabilities
from callgate.upstreams.sandbox_spec import ChildSpec, Isolation, IsolationError
from tests.upstreams.sandbox_support import AS_ROOT, SYSTEM_PYTHON, WAYS, marked, place, run, start, until_gone

# what a child with an ordinary user's id may do to that user's files, without namespaces (sandbox.py, "What stays")
STAYS = {
    "change the mode of a file outside",
    "change the times of a file outside",
    "make a file outside a set-user-id one",
}


@functools.cache
def offered(user: str, *, namespaces: bool) -> dict[str, str]:
    with place(user) as base:
        return run(user, given(base, "auto", namespaces=namespaces, do="offered"))


def given(base: Path, isolation: str, *, namespaces: bool, do: str, **more: object) -> dict[str, object]:
    attacker = str(base / "scripts" / more.pop("script", "sandbox_attacker.py"))
    return {
        "base": str(base), "attacker": attacker, "isolation": isolation, "namespaces": namespaces, "do": do, **more
    }  # fmt: skip


def need(user: str, isolation: str, *, namespaces: bool) -> None:
    if user == "root" and not AS_ROOT:
        pytest.skip("the tests do not run as root")
    wanted = [isolation] * (isolation != "none") + ["namespaces"] * namespaces
    for reason in filter(None, map(offered(user, namespaces=namespaces).get, wanted)):
        pytest.skip(reason)


@pytest.mark.parametrize("deny", [False, True], ids=["", "port-denied"])
@pytest.mark.parametrize(("user", "isolation", "namespaces"), WAYS)
def test_a_hostile_child_gets_nothing_and_an_honest_one_what_it_needs(user, isolation, namespaces, deny) -> None:
    need(user, isolation, namespaces=namespaces)
    with place(user) as base:
        answer = run(user, given(base, isolation, namespaces=namespaces, do="attack", deny=deny))
    assert answer["isolation"] == isolation
    got = {name: result for name, result in answer["attacks"].items() if not result.startswith("denied")}
    stays = STAYS if (user, namespaces, isolation) == ("nobody", False, "landlock") else set()
    assert set(got) == stays, got
    assert len(answer["attacks"]) > 50
    assert {name: result for name, result in answer["needs"].items() if not result.startswith("works")} == {}
    assert answer["key"] == "SECRET-KEY-CANARY"
    assert answer["status"]["NoNewPrivs"] == "1"
    assert int(answer["status"]["CapEff"], 16) == int(answer["status"]["CapPrm"], 16) == 0
    assert answer["status"]["Groups"] in {"", "65534"}
    assert answer["core"] == [0, 0]
    assert answer["descriptors"] in ([0, 1, 2], [0, 1, 2, 3])  # 3 is the directory that is being listed
    assert "CANARY" not in str(answer["environment"])
    assert set(answer["environment"]) - {"PWD", "LC_CTYPE"} == {"PATH", "HOME", "LANG", "TMPDIR", "DECLARED"}
    if namespaces:
        assert answer["processes"] == [1, answer["me"]]
    if isolation == "uid":
        assert len(set(answer["uids"])) == 2  # each identity has its own
        assert not {0, os.geteuid()} & set(answer["uids"])


SURVIVORS = [
    (*way, how) for way in [*WAYS, ("root", "none", False), ("nobody", "none", False)] for how in ("family", "chain")
]


@pytest.mark.parametrize(("user", "isolation", "namespaces", "how"), SURVIVORS)
def test_nothing_outlives_a_gateway_killed_with_9(user, isolation, namespaces, how) -> None:
    need(user, isolation, namespaces=namespaces)
    marker = f"survivor-{uuid.uuid4().hex}"
    with place(user) as base:
        more = {"script": "sandbox_survivor.py", "args": [how, marker], "unsandboxed": isolation == "none"}
        gateway = start(user, given(base, isolation, namespaces=namespaces, do="linger", **more))
        assert gateway.stdout.readline(), gateway.communicate()[1]
        assert len(marked(marker)) >= 2
        gateway.send_signal(signal.SIGKILL)
        gateway.communicate()
        until_gone(marker)


@pytest.mark.parametrize(("user", "isolation", "namespaces"), WAYS)
def test_nothing_outlives_its_own_child(user, isolation, namespaces) -> None:
    """The child ends by itself and leaves a family behind; the gateway lives on."""
    need(user, isolation, namespaces=namespaces)
    marker = f"survivor-{uuid.uuid4().hex}"
    with place(user) as base:
        more = {"script": "sandbox_survivor.py", "args": ["orphans", marker]}
        answer = run(user, given(base, isolation, namespaces=namespaces, do="outlive", **more))
        assert answer["exit"] == "The server's process ended with code 0."
        until_gone(marker)


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_where_nothing_works_the_child_is_refused_with_every_reason(user) -> None:
    need(user, "none", namespaces=False)
    with place(user) as base:
        asked = given(base, "auto", namespaces=False, do="refuse", cripple=True)
        refused = run(user, asked)["refused"]
        assert "uid: " in refused
        assert "landlock: " in refused
        assert "bubblewrap: " in refused
        assert "CALLGATE_ALLOW_UNSANDBOXED_STDIO" in refused
        assert run(user, asked | {"base": str(fresh(base)), "unsandboxed": True})["isolation"] == "none"


def fresh(base: Path) -> Path:
    (base / "data" / "secrets" / "key").unlink()
    (base / "data" / "secrets").rmdir()
    (base / "data").rmdir()
    return base


# --- choosing -----------------------------------------------------------------------------------------------------

FULL_ROOT = Capabilities(why_no_uid="", landlock=7, namespaces=True, userns=False, bwrap=None, root=True)
USER = Capabilities(why_no_uid="not root", landlock=7, namespaces=True, userns=True, bwrap=None, root=False)


def spec(base: Path, command: str = SYSTEM_PYTHON, **more: object) -> ChildSpec:
    (base / "data").mkdir(mode=0o700, exist_ok=True)
    return ChildSpec("files", command, base / "run", (base / "data",), **more)


@pytest.fixture
def base():
    with place("self") as made:
        yield made


needs_root = pytest.mark.skipif(not AS_ROOT, reason="the tests do not run as root")


@needs_root
def test_root_gives_a_child_a_user_id_of_its_own_and_keeps_it(base) -> None:
    first = sandbox.plan(spec(base), FULL_ROOT)
    again = sandbox.plan(spec(base), FULL_ROOT)
    other = sandbox.plan(spec(base, identity="ana@acme.test"), FULL_ROOT)
    assert first.isolation is Isolation.UID
    assert first.note == ""
    assert first.config["uid"] == again.config["uid"]
    assert first.config["uid"] != other.config["uid"]
    assert "ana" not in str(other.config["cwd"])


@needs_root
@pytest.mark.parametrize("what", ["command", "argument", "environment", "cwd"])
def test_root_falls_back_to_landlock_when_another_user_could_not_use_what_is_named(base, what) -> None:
    closed = base / "closed"
    closed.mkdir(mode=0o700)
    (closed / "bin").mkdir()
    tool = closed / "bin" / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    asked = {
        "command": lambda: spec(base, str(tool)),
        "argument": lambda: spec(base, args=(f"--db={tool}",)),
        "environment": lambda: spec(base, env={"MEMORY_FILE": str(tool)}),
        "cwd": lambda: spec(base, cwd=closed / "bin"),
    }[what]()
    plan = sandbox.plan(asked, FULL_ROOT)
    assert plan.isolation is Isolation.LANDLOCK
    assert f"{closed} is closed to others" in plan.note
    assert plan.config["read_only_view"]
    assert str(closed / "bin") in [*plan.config["write"], str(closed / "bin")]
    with pytest.raises(IsolationError, match="closed to others"):
        sandbox.plan(spec(base, str(tool), isolation=Isolation.UID), FULL_ROOT)


@needs_root
def test_root_without_namespaces_never_runs_a_child_with_roots_user_id(base) -> None:
    found = Capabilities(why_no_uid="no SETUID", landlock=7, namespaces=False, userns=False, bwrap="/bwrap", root=True)
    with pytest.raises(IsolationError, match="namespaces would prevent that"):
        sandbox.plan(spec(base), found)


@needs_root
def test_a_private_path_that_others_can_read_is_not_protected_by_a_user_id(base) -> None:
    made = spec(base)
    (base / "data").chmod(0o755)
    plan = sandbox.plan(made, FULL_ROOT)
    assert plan.isolation is Isolation.LANDLOCK
    assert "give it mode 0700" in plan.note


@pytest.mark.parametrize(
    ("landlock", "namespaces", "why"),
    [(0, True, "no Landlock"), (5, False, "6.12"), (3, False, "6.12"), (6, False, ""), (1, True, ""), (7, True, "")],
)
def test_landlock_counts_only_with_what_closes_its_gaps(landlock, namespaces, why) -> None:
    found = Capabilities("not root", landlock, namespaces, namespaces, None, root=False)
    assert (why in found.why_no_landlock) if why else found.why_no_landlock == ""


def test_running_without_isolation_must_be_allowed_by_name(base) -> None:
    with pytest.raises(IsolationError, match="CALLGATE_ALLOW_UNSANDBOXED_STDIO"):
        sandbox.plan(spec(base, isolation=Isolation.NONE), USER)
    plan = sandbox.plan(spec(base, isolation=Isolation.NONE, allow_unsandboxed=True), USER)
    assert plan.isolation is Isolation.NONE


def test_an_unknown_command_is_named(base) -> None:
    with pytest.raises(IsolationError, match="no-such-command was not found on the PATH"):
        sandbox.plan(spec(base, "no-such-command"), USER)


def test_homes_and_working_directories_must_lie_outside_of_private_paths(base) -> None:
    inside = ChildSpec("files", SYSTEM_PYTHON, base / "data" / "run", (base / "data",))
    (base / "data").mkdir(mode=0o700)
    around = ChildSpec("files", SYSTEM_PYTHON, base, (base / "data",))
    for wrong in (inside, around):
        with pytest.raises(IsolationError, match="must lie apart"):
            sandbox.plan(wrong, USER)
    with pytest.raises(IsolationError, match="working directory"):
        sandbox.plan(spec(base, cwd=base / "data"), USER)


def test_the_environment_is_what_was_declared_and_four_more(base, monkeypatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_GATEWAY", "x")
    plan = sandbox.plan(spec(base, env={"A": "1", "HOME": "/elsewhere"}), USER)
    assert set(plan.config["env"]) == {"PATH", "HOME", "LANG", "TMPDIR", "A"}
    assert plan.config["env"]["HOME"] == "/elsewhere"
    assert "SECRET" not in repr(plan)


def test_the_plan_does_not_show_secrets_in_its_repr(base) -> None:
    plan = sandbox.plan(spec(base, env={"TOKEN": "canary-9"}), USER)
    assert "canary-9" not in repr(plan)
    assert "canary-9" not in repr(spec(base, env={"TOKEN": "canary-9"}))


def test_what_works_here_is_found_out() -> None:
    found = sandbox.capabilities()
    assert found.root is (os.geteuid() == 0)
    assert found is sandbox.capabilities()
