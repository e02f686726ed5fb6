"""Which files a child needs: what it may open under Landlock and bubblewrap, and what a stranger could open at all.

Granted: system programs and libraries, the named files of /etc, the tool's own directory, the private home, and what
the operator named by command, arguments, environment and working directory. Never granted: a private path, anything
inside one, or anything that holds one. Fail closed: what is doubtful is left out, and the child meets EACCES.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from callgate.upstreams.sandbox_homes import first_closed
from callgate.upstreams.sandbox_spec import ChildSpec

# read and executed, never written
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store", "/snap")
# no keys, no password hashes: a child that keeps root's user id could read those as their owner
_ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "fonts", "gai.conf", "group",
    "host.conf", "hostname", "hosts", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "locale.alias", "locale.conf", "localtime", "machine-id", "magic", "mime.types",
    "nsswitch.conf", "os-release", "passwd", "pki/ca-trust", "pki/tls/cert.pem", "pki/tls/certs",
    "pki/tls/openssl.cnf", "protocols", "resolv.conf", "services", "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf",
    "timezone", "xdg",
)  # fmt: skip
_KERNEL = ("/proc", "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm", "/var/lib/ca-certificates")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/shm")  # noqa: S108
_NEVER_WRITTEN = (*_SYSTEM, "/boot", "/dev", "/etc", "/proc", "/run", "/sys")
_LOCAL_TOOLS = ("bin", "lib", "lib64", "pipx", "share/uv", "share/pipx", "share/fnm", "share/mise", "share/pnpm")
_TOOL_DIRECTORIES = frozenset({"bin", "shims", ".bin", "sbin"})
_MAX_SHEBANGS = 4
_CODE = frozenset(
    {".cjs", ".jar", ".js", ".jsx", ".lua", ".mjs", ".php", ".pl", ".py", ".pyz", ".rb", ".sh", ".ts", ".tsx"}
)
_PROJECT_MARKS = ("package.json", "node_modules", "pyproject.toml", ".venv", "Gemfile", "composer.json", "deno.json")
_PROJECT_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Grants:
    """Paths, each with all below it; `refused` were named but would show what must stay hidden."""

    read: list[str]
    write: list[str]
    refused: list[str]


def find_program(command: str, search: str) -> Path | None:
    """The absolute path of a command as the gateway would find it; links are not followed (a tool may look at its own
    name)."""
    found = shutil.which(command, path=search)
    return Path(os.path.abspath(found)) if found else None  # noqa: PTH100  resolve() would follow links


# --- what the operator named -------------------------------------------------------------------------------------


def named_paths(spec: ChildSpec) -> Iterator[Path]:
    """Absolute paths among the arguments (also as `--key=/path`) and the values of the declared environment."""
    values = [value for name, value in spec.env.items() if name != "PATH"]
    for text in (*spec.args, *(part.partition("=")[2] for part in spec.args if part.startswith("-")), *values):
        if text.startswith("/") and "\0" not in text and len(text) < 4096:
            yield Path(text)


def grants(spec: ChildSpec, program: Path, home: Path) -> Grants:
    """The list for a child that keeps the gateway's user id."""
    # the homes of other children are as private as the gateway's own files
    private = [path.resolve() for path in (*spec.private_paths, spec.runtime_dir)]
    read = {*_SYSTEM, *_KERNEL, *(f"/etc/{name}" for name in _ETC), str(Path("/etc/resolv.conf").resolve())}
    write = set(_DEVICES)
    for path in (*_chain(program), *spec.read_paths):
        read |= set(_tool_roots(path))
    for path in (*spec.write_paths, *((spec.cwd,) if spec.cwd is not None else ())):
        write.add(str(path))
    for path in named_paths(spec):
        if path.suffix in _CODE:
            read.add(str(_project(path)))
            continue
        for granted in _for_named(path):
            (read if _below(granted, _NEVER_WRITTEN) else write).add(str(granted))
    readable, writable = _apart(read, private), _apart(write, private)
    refused = sorted((read | write) - readable - writable)
    return Grants(sorted(readable), sorted({*writable, str(home)}), refused)


def _project(code: Path) -> Path:
    """What a program in a file stands on: the nearest directory above it that looks like the root of a project."""
    if "node_modules" in code.parts:
        return Path(*code.parts[: code.parts.index("node_modules") + 1])
    home = Path("~").expanduser()
    for parent in list(code.parents)[:_PROJECT_DEPTH]:
        if len(parent.parts) <= 2 or home.is_relative_to(parent):
            break
        if any((parent / name).exists() for name in _PROJECT_MARKS):
            return parent
    return code.parent


def _for_named(path: Path) -> Iterator[Path]:
    """A file that is written often has companions (journals, temporary files), so its directory comes with it, unless
    that is a place where everything lies."""
    if path.is_dir():
        yield path
        return
    if path.exists():
        yield path
    parent = path.parent
    if len(parent.parts) > 2 and parent.is_dir() and not Path("~").expanduser().is_relative_to(parent):
        yield parent


def _apart(paths: set[str], private: list[Path]) -> set[str]:
    """Those that neither hold nor lie in a private path."""
    apart = set()
    for text in paths:
        real = Path(text).resolve()
        if not any(real.is_relative_to(secret) or secret.is_relative_to(real) for secret in private):
            apart.add(text)
    return apart


def _below(path: Path, roots: tuple[str, ...]) -> bool:
    real = path.resolve()
    return any(real.is_relative_to(root) for root in roots)


# --- the program and what it stands on ---------------------------------------------------------------------------


def _chain(program: Path) -> Iterator[Path]:
    """The program, what its links lead to, and the interpreters that its first lines name."""
    current: Path | None = program
    for _ in range(_MAX_SHEBANGS):
        if current is None:
            return
        yield current
        real = current.resolve()
        if real != current:
            yield real
        current = _interpreter(real)


def _interpreter(path: Path) -> Path | None:
    try:
        with path.open("rb") as file:
            line = file.readline(256)
    except OSError:
        return None
    words = line[2:].split() if line.startswith(b"#!") else []
    if not words:
        return None
    name = Path(os.fsdecode(words[0]))
    if name.name == "env" and len(words) > 1:
        return find_program(os.fsdecode(words[-1]), os.environ.get("PATH") or os.defpath)
    return name


def _tool_roots(path: Path) -> Iterator[str]:
    """The directory that a tool was installed in: what holds its `bin`, or the tree of packages that it is part of."""
    if path.is_dir():
        yield str(path)
        return
    parts = path.parts
    if "node_modules" in parts:
        yield str(Path(*parts[: parts.index("node_modules") + 1]))
    elif path.parent.name in _TOOL_DIRECTORIES and path.parent.parent.name == ".local":
        for name in _LOCAL_TOOLS:
            yield str(path.parent.parent / name)
    elif path.parent.name in _TOOL_DIRECTORIES and len(path.parent.parent.parts) > 2:
        yield str(path.parent.parent)
    yield str(path)


# --- what another user could open --------------------------------------------------------------------------------


def obstacle_for_others(spec: ChildSpec, program: Path) -> str:
    """Why a child with a user id of its own could not work with what was named; empty when it could."""
    for path in _chain(program):
        blocked = _blocked(path, stat.S_IXOTH if path == program else stat.S_IROTH)
        if blocked is not None:
            return f"the command {program} cannot be run by another user: {blocked} is closed to others (chmod o+rx)"
    cwd = (spec.cwd,) if spec.cwd is not None else ()
    for path in (*cwd, *spec.read_paths, *spec.write_paths, *named_paths(spec)):
        blocked = _blocked(path, stat.S_IROTH)
        if blocked is not None:
            return f"{path} cannot be read by another user: {blocked} is closed to others"
    return ""


def _blocked(path: Path, right: int) -> Path | None:
    """The first part of a path, or of what its links lead to, that a stranger cannot pass. What does not exist is left
    to whoever uses it."""
    if not path.exists():
        return None
    for way in dict.fromkeys((path, path.resolve())):
        closed = first_closed(way.parent)
        if closed is not None:
            return closed
        if not way.stat().st_mode & right:
            return way
    return None


def closed_to_others(path: Path) -> bool:
    """Whether a stranger can neither look into a path nor reach it."""
    real = path.resolve()
    return not real.stat().st_mode & stat.S_IRWXO or first_closed(real.parent) is not None


# --- bubblewrap --------------------------------------------------------------------------------------------------


def bubblewrap_arguments(bwrap: str, listed: Grants, cwd: str) -> list[str]:
    """The command line up to `--`: only what is granted exists, other processes are out of sight."""
    argv = [bwrap, "--die-with-parent", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL"]
    for path in listed.read:
        if path != "/proc" and not path.startswith("/dev/"):
            argv += ["--ro-bind-try", path, path]
    argv += ["--proc", "/proc", "--dev", "/dev"]
    for path in listed.write:
        if not path.startswith("/dev/"):
            argv += ["--bind-try", path, path]
    return [*argv, "--chdir", cwd, "--"]
