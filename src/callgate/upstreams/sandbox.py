"""How a stdio child is kept apart from the gateway: what this machine offers, and the plan for one child.

stdio children are hostile (design.md §4). They must not read the data directory, the key file or the control socket,
nor reach the gateway's ports with operator rights. Three ways, tried in this order:

- `uid`: the gateway is root and runs the child under a user id of its own (one per upstream and identity, from a range
  that nobody else uses), without groups and capabilities. File modes do the rest: the private paths must be 0700.
- `landlock`: the child keeps the gateway's user id, without capabilities, and the kernel lets it open only what is
  listed (`sandbox_grants`). Landlock does not govern unix sockets, keyrings and, before Linux 6.12, signals, so a
  seccomp filter and namespaces close these, and in the namespace only what was granted can be changed at all. Where
  neither Landlock 6 nor namespaces exist, it does not count; for root, namespaces are a must.
- `bubblewrap`: the same list as a file system of its own, where bwrap is installed and the gateway is not root.

Wherever namespaces can be made they are added: the private paths are covered, other processes are out of sight, and the
kernel kills everything with process 1 of the PID namespace. Without them the launcher kills what it finds.

What stays: without namespaces a child with the user id of an ordinary gateway may change modes and times of that user's
files, though not open them. The network is open, but for `denied_ports`.

Each child has a private home under `runtime_dir`, which must not lie inside a private path. npx, uvx and the like keep
their caches there; they see no `.npmrc` or `pip.conf` of the gateway's user: what they need goes into the declared
environment (`npm_config_registry`, `UV_INDEX_URL`, …).

Fail closed: where nothing works `IsolationError` says for each way why not, unless the operator allowed
`allow_unsandboxed_stdio`, or chose `none` with it.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from callgate.upstreams import sandbox_grants as grants
from callgate.upstreams import sandbox_homes as homes
from callgate.upstreams.sandbox_spec import ChildSpec, Isolation, IsolationError

_PROBE_SECONDS = 20.0
_SETUID_CAPABILITIES = (0, 5, 6, 7)  # CHOWN, KILL, SETGID, SETUID
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); from callgate.upstreams.sandbox_launcher import main; "
    "main(int(sys.argv[2]), int(sys.argv[3]))"
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this machine lets this process do. `why_no_uid` is empty when children can have user ids of their own."""

    why_no_uid: str
    landlock: int
    namespaces: bool
    userns: bool
    bwrap: str | None
    root: bool

    @property
    def why_no_landlock(self) -> str:
        if self.landlock == 0:
            return "the kernel has no Landlock, or does not allow it here"
        if self.root and not self.namespaces:
            return "a child that keeps root's user id could open root's files to others; namespaces would prevent that"
        if self.landlock < 6 and not self.namespaces:
            return "Landlock needs Linux 6.12, or namespaces to go with it, which are not allowed here"
        return ""

    @property
    def why_no_bubblewrap(self) -> str:
        if self.root:  # inside, it would still own what root owns: the kernel's settings, for one
            return "it does not protect from a child that keeps root's user id"
        return "" if self.bwrap else "bwrap is not installed"


@dataclass(frozen=True, slots=True)
class Plan:
    """For the launcher. `config` holds secrets (the environment): it goes through a pipe and is never logged.

    `note` says why a stronger isolation was not taken; empty when there is none.
    """

    isolation: Isolation
    namespaces: bool
    config: Mapping[str, object] = field(repr=False)
    note: str = ""


def launcher_command(control: int, status: int) -> list[str]:
    """The command line of the supervisor: an isolated interpreter without site-packages."""
    root = str(Path(__file__).resolve().parents[2])
    return [sys.executable, "-I", "-S", "-c", _BOOT, root, str(control), str(status)]


@functools.cache
def capabilities() -> Capabilities:
    """What works here, found out by trying, once per process (about 50 ms, blocking)."""
    control, control_in = os.pipe()
    status, status_in = os.pipe()
    try:
        os.write(control_in, b'{"probe": true}\n')
        subprocess.run(
            launcher_command(control, status_in),
            pass_fds=(control, status_in),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            timeout=_PROBE_SECONDS,
            check=True,
        )
        found = json.loads(os.read(status, 4096))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise IsolationError(f"The launcher of stdio children does not work here: {error}") from error
    finally:
        for fd in (control, control_in, status, status_in):
            os.close(fd)
    return Capabilities(
        why_no_uid=_why_no_uid(),
        landlock=found["landlock"],
        namespaces=found["namespaces"],
        userns=found["userns"],
        bwrap=shutil.which("bwrap"),
        root=os.geteuid() == 0,
    )


def _why_no_uid() -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the gateway does not run as root"
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    effective = int(status["CapEff"], 16)
    if any(not effective >> number & 1 for number in _SETUID_CAPABILITIES):
        return "the capabilities CHOWN, KILL, SETGID and SETUID are not all there"
    for name in ("uid_map", "gid_map"):
        rows = [line.split() for line in Path("/proc/self", name).read_text().splitlines()]
        spans = [range(int(first), int(first) + int(count)) for first, _, count in rows]
        if not any(homes.USER_IDS[0] in span and homes.USER_IDS[-1] in span for span in spans):
            return f"user ids {homes.USER_IDS[0]} to {homes.USER_IDS[-1]} do not exist in this container"
    return ""


def plan(spec: ChildSpec, found: Capabilities) -> Plan:
    """Choose the isolation and prepare the private home. Blocking. Raises `IsolationError`."""
    _check_layout(spec)
    program = grants.find_program(spec.command, spec.env.get("PATH") or os.environ.get("PATH") or os.defpath)
    if program is None:
        raise IsolationError(f"The command {spec.command} was not found on the PATH; name its full path.")
    reasons: list[str] = []
    for way in _ways(spec):
        why_not, made = _TRY[way](spec, found, program)
        if made is not None:
            refused = cast(list[str], made.pop("refused"))
            if refused:
                reasons.append(f"not granted, because they hold what must stay hidden: {', '.join(refused)}")
            return Plan(way, bool(made["namespaces"]), made, "; ".join(reasons))
        reasons.append(f"{way.value}: {why_not}")
    raise IsolationError(
        f"{spec.upstream} cannot be isolated from the gateway ({'; '.join(reasons)}). "
        "Mend one of these, or set CALLGATE_ALLOW_UNSANDBOXED_STDIO to run it with all that the gateway can read."
    )


def _ways(spec: ChildSpec) -> tuple[Isolation, ...]:
    if spec.isolation is Isolation.NONE and not spec.allow_unsandboxed:
        raise IsolationError("Isolation `none` needs CALLGATE_ALLOW_UNSANDBOXED_STDIO.")
    if spec.isolation is not Isolation.AUTO:
        return (spec.isolation,)
    ways = (Isolation.UID, Isolation.LANDLOCK, Isolation.BUBBLEWRAP)
    return (*ways, Isolation.NONE) if spec.allow_unsandboxed else ways


def _check_layout(spec: ChildSpec) -> None:
    runtime = spec.runtime_dir.resolve()
    for private in spec.private_paths:
        covered = private.resolve()
        if runtime.is_relative_to(covered) or covered.is_relative_to(runtime):
            raise IsolationError(f"The runtime directory {runtime} and the private path {covered} must lie apart.")
        cwd = (spec.cwd or Path("/")).resolve()
        if cwd.is_relative_to(covered):
            raise IsolationError(f"The working directory {cwd} lies inside the private path {covered}.")


Made = tuple[str, dict[str, object] | None]


def _try_uid(spec: ChildSpec, found: Capabilities, program: Path) -> Made:
    if found.why_no_uid:
        return found.why_no_uid, None
    obstacle = grants.obstacle_for_others(spec, program) or _open_private_path(spec)
    if obstacle:
        return obstacle, None
    try:
        home, uid = homes.home_of_other(spec.runtime_dir, homes.home_name(spec.upstream, spec.identity))
    except IsolationError as error:
        return str(error), None
    limits = {"RLIMIT_NPROC": spec.limits.processes}
    made = _config(spec, program, home, limits) | {"uid": uid, "gid": uid}
    # a user namespace of our making would know one user id only, so only those of a full root are of use here
    return "", made | ({} if found.userns else _with_namespaces(spec, found))


def _open_private_path(spec: ChildSpec) -> str:
    """File modes are what protects here, so they must."""
    for private in spec.private_paths:
        if private.exists() and not grants.closed_to_others(private):
            return f"{private} can be read by other users; give it mode 0700"
    return ""


def _try_landlock(spec: ChildSpec, found: Capabilities, program: Path) -> Made:
    if found.why_no_landlock:
        return found.why_no_landlock, None
    home = homes.home_of_self(spec.runtime_dir, homes.home_name(spec.upstream, spec.identity))
    listed = grants.grants(spec, program, home)
    limits = {"RLIMIT_NPROC": spec.limits.processes} if found.userns else {}
    made = _config(spec, program, home, limits) | _with_namespaces(spec, found)
    made |= {
        "landlock": True,
        "read_only_view": found.namespaces,
        "read": listed.read,
        "write": listed.write,
        "same_user": True,
        "drop": True,
        "refused": listed.refused,
    }
    return "", made


def _try_bubblewrap(spec: ChildSpec, found: Capabilities, program: Path) -> Made:
    if found.why_no_bubblewrap or found.bwrap is None:
        return found.why_no_bubblewrap, None
    home = homes.home_of_self(spec.runtime_dir, homes.home_name(spec.upstream, spec.identity))
    listed = grants.grants(spec, program, home)
    made = _config(spec, program, home, {})
    argv = grants.bubblewrap_arguments(found.bwrap, listed, str(made["cwd"]))
    return "", made | {"argv": [*argv, str(program), *spec.args], "same_user": True, "refused": listed.refused}


def _try_none(spec: ChildSpec, found: Capabilities, program: Path) -> Made:
    home = homes.home_of_self(spec.runtime_dir, homes.home_name(spec.upstream, spec.identity))
    made = _config(spec, program, home, {})
    return "", made if found.landlock >= 4 else made | {"denied_ports": []}


_TRY = {
    Isolation.UID: _try_uid,
    Isolation.LANDLOCK: _try_landlock,
    Isolation.BUBBLEWRAP: _try_bubblewrap,
    Isolation.NONE: _try_none,
}


def _with_namespaces(spec: ChildSpec, found: Capabilities) -> dict[str, object]:
    if not found.namespaces:
        return {}
    hide = [str(private.resolve()) for private in spec.private_paths]
    return {"namespaces": True, "userns": found.userns, "hide": hide}


def _config(spec: ChildSpec, program: Path, home: Path, limits: dict[str, int]) -> dict[str, object]:
    asked = spec.limits
    limits |= {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": asked.open_files, "RLIMIT_FSIZE": asked.file_bytes}
    if asked.address_space is not None:
        limits["RLIMIT_AS"] = asked.address_space
    temporary = str(home / "tmp")
    surroundings = {
        "PATH": os.environ.get("PATH") or os.defpath,
        "HOME": str(home),
        "LANG": os.environ.get("LANG") or "C.UTF-8",
        "TMPDIR": temporary,
    }
    return {
        "argv": [str(program), *spec.args],
        "env": surroundings | dict(spec.env),
        "cwd": str(spec.cwd.resolve() if spec.cwd is not None else home),
        "make": [temporary],
        "limits": limits,
        "namespaces": False,
        "userns": False,
        "hide": [],
        "uid": None,
        "gid": None,
        "drop": False,
        "landlock": False,
        "same_user": False,
        "read": [],
        "write": [],
        "denied_ports": list(spec.denied_ports),
        "read_only_view": False,
        "refused": [],
    }
