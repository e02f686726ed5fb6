"""What is to be started as a stdio child, and under which bounds: values only.

Fail closed: the defaults isolate; running without isolation must be asked for and allowed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from callgate.errors import CallgateError


class IsolationError(CallgateError):
    """The child cannot be isolated as asked; the text says why and what to do."""


class Isolation(StrEnum):
    """`auto`: the first that works."""

    AUTO = "auto"
    UID = "uid"
    LANDLOCK = "landlock"
    BUBBLEWRAP = "bubblewrap"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """Seconds, bytes and counts. `processes` holds only where the child's user id is its own. `address_space` is off:
    Node reserves far more than it uses."""

    start_seconds: float = 15.0
    message_bytes: int = 16 * 1024 * 1024
    stderr_bytes: int = 64 * 1024
    open_files: int = 4096
    processes: int = 1024
    file_bytes: int = 4 * 1024**3
    address_space: int | None = None


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What is to be started and what it may see.

    `upstream` and `identity` (whose credentials `env` holds) name the private home and, under `uid`, the user id.
    `env` is the declared environment; PATH, HOME, LANG and TMPDIR are added unless declared. `private_paths` are
    directories that it must never see. `read_paths` and `write_paths` are granted beyond what the command, its
    arguments and `cwd` name. `denied_ports` are TCP ports that it may not connect to on any host.
    """

    upstream: str
    command: str
    runtime_dir: Path
    private_paths: tuple[Path, ...]
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    identity: str = ""
    limits: ChildLimits = ChildLimits()
    isolation: Isolation = Isolation.AUTO
    allow_unsandboxed: bool = False
    read_paths: tuple[Path, ...] = ()
    write_paths: tuple[Path, ...] = ()
    denied_ports: tuple[int, ...] = ()
