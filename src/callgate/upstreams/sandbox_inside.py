"""What happens inside the processes below the launcher: namespaces, giving up rights, becoming the program.

Standard library only. Fail closed: a step that fails is a `StageError` that names it, and the program is not started.
"""

import functools
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from callgate.upstreams import sandbox_linux as linux

Config = dict[str, Any]
LINUX = sys.platform == "linux"
_SEALED = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
_MAX_FD = 4096


class StageError(Exception):
    """A step of isolating or starting failed: nothing was started."""

    def __init__(self, stage: str, error: OSError | ValueError) -> None:
        super().__init__(str(error))
        self.stage = stage
        self.code = getattr(error, "errno", None)


def stage(name: str, action: Callable[[], object]) -> None:
    try:
        action()
    except (OSError, ValueError) as error:
        raise StageError(name, error) from error


def enter_namespaces(config: Config) -> None:
    """New PID, mount and IPC namespaces; a user namespace where only that gives the right to them.

    Private directories are covered by an empty, sealed file system. A child that keeps the gateway's user id gets a
    view in which nothing but what was granted can be changed: Landlock governs neither modes nor times.
    """
    uid, gid = os.getuid(), os.getgid()
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC
    linux.unshare(flags | (linux.CLONE_NEWUSER if config["userns"] else 0))
    if config["userns"]:
        linux.map_own_ids(uid, gid)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    if config["read_only_view"]:
        _only_writable([path for path in config["write"] if Path(path).exists()])
    for path in config["hide"]:
        if Path(path).is_dir():
            linux.mount("tmpfs", path, "tmpfs", _SEALED | linux.MS_RDONLY, "mode=0000,size=4k,nr_inodes=1")


def _only_writable(paths: list[str]) -> None:
    kept = [path for path in paths if Path(path).is_dir() or Path(path).is_file()]  # devices are written through anyway
    for path in kept:
        linux.mount(path, path, None, linux.MS_BIND | linux.MS_REC)
    linux.set_read_only("/", read_only=True, below=True)
    for path in kept:
        try:
            linux.set_read_only(path, read_only=False, below=True)
        except OSError:  # something mounted below it was read-only before and must stay so
            linux.set_read_only(path, read_only=False, below=False)


def mount_own_proc() -> None:
    """A /proc that shows the processes of this PID namespace only."""
    linux.mount("proc", "/proc", "proc", _SEALED)


def execute(config: Config, failures: int) -> None:
    """Give up every right and become the program. Raises `StageError`; does not return otherwise."""
    stage("session", os.setsid)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    stage("limits", lambda: _set_limits(config["limits"]))
    if LINUX:
        _confine(config)
    for path in config["make"]:
        stage("home", functools.partial(Path(path).mkdir, 0o700, exist_ok=True))
    stage("cwd", lambda: os.chdir(config["cwd"]))
    os.closerange(3, failures)
    os.closerange(failures + 1, _MAX_FD)
    argv = config["argv"]
    stage("exec", lambda: os.execve(argv[0], argv, config["env"]))  # noqa: S606  the program is what was asked for


def _confine(config: Config) -> None:
    stage("no_new_privileges", linux.no_new_privileges)
    ruleset = _ruleset(config)
    if config["uid"] is not None:
        stage("uid", lambda: _become(config["uid"], config["gid"]))
    elif config["drop"]:
        stage("capabilities", linux.drop_capabilities)
    linux.die_with_parent(signal.SIGKILL)
    if ruleset is not None:
        stage("landlock", ruleset.enforce)
    if config["same_user"] or config["denied_ports"]:
        same_user, ports = config["same_user"], bool(config["denied_ports"])
        program = linux.seccomp_program
        machine = os.uname().machine
        stage("seccomp", lambda: linux.enforce_seccomp(program(machine, same_user=same_user, ports=ports)))


def _ruleset(config: Config) -> linux.Landlock | None:
    files, ports = config["landlock"], config["denied_ports"]
    if not files and not ports:
        return None
    made: list[linux.Landlock] = []

    def make() -> None:
        ruleset = linux.Landlock(linux.landlock_abi(), files=files, ports=bool(ports))
        if files:
            ruleset.allow(config["read"], write=False)
            ruleset.allow(config["write"], write=True)
        if ports:
            ruleset.allow_all_ports_but(ports)
        made.append(ruleset)

    stage("landlock", make)
    return made[0]


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _set_limits(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


# --- what works here -------------------------------------------------------------------------------------------


def probe() -> dict[str, object]:
    """Try what isolation this machine offers, in throwaway processes."""
    if not LINUX:
        return {"landlock": 0, "namespaces": False, "userns": False}
    found: dict[str, object] = {"landlock": linux.landlock_abi(), "namespaces": False, "userns": False}
    for userns in (False, True):
        if _namespaces_work(userns=userns):
            return found | {"namespaces": True, "userns": userns}
    return found


def _namespaces_work(*, userns: bool) -> bool:
    outer = os.fork()
    if outer == 0:
        code = 1
        try:
            enter_namespaces({"userns": userns, "hide": ["/usr"], "read_only_view": True, "write": []})
            inner = os.fork()
            if inner == 0:
                mount_own_proc()
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
        except OSError:
            pass
        finally:
            os._exit(code)
    return os.waitpid(outer, 0)[1] == 0
