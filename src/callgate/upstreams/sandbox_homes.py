"""Private homes of stdio children, and the user ids that own them.

A home is made once and belongs to its child from then on: nothing inside it is ever touched with the gateway's rights,
because the child could have put a link there. The owner of a home is the record of the user id. Fail closed: a home
that is not a plain directory of an expected owner is refused.
"""

import hashlib
import os
import pwd
import re
import stat
from pathlib import Path

from callgate.upstreams.sandbox_spec import IsolationError

# between what distributions give to people (1000 to 59999 by hand) and systemd's dynamic users (61184 up); Debian and
# others leave the top of the range alone, and an id that has an account is skipped
USER_IDS = range(58000, 60000)
_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


def default_runtime_dir(data_dir: Path) -> Path:
    """Where homes go unless configured: for root below /var/lib, which every user may pass; otherwise in the user's
    state directory. One directory per data directory."""
    mark = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:8]
    if os.geteuid() == 0:
        return Path("/var/lib/callgate/stdio") / mark
    state = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(state) / "callgate" / "stdio" / mark


def home_name(upstream: str, identity: str) -> str:
    """The directory's name. Identities are hashed: a name of a person is nobody else's business."""
    if _SAFE.fullmatch(upstream) is None:
        raise IsolationError(f"{upstream!r} cannot name a directory.")
    return f"{upstream}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}" if identity else upstream


def home_of_self(runtime_dir: Path, name: str) -> Path:
    """A home that belongs to the gateway's own user, made when missing. Raises `IsolationError`."""
    home = _runtime(runtime_dir) / f"{name}@self"
    _make(home)
    _check(home, range(os.geteuid(), os.geteuid() + 1))
    return home


def home_of_other(runtime_dir: Path, name: str) -> tuple[Path, int]:
    """A home and the user id that owns it and nothing else, made when missing. Needs root. Raises `IsolationError`."""
    runtime = _runtime(runtime_dir)
    blocked = first_closed(runtime)
    if blocked is not None:
        raise IsolationError(f"the runtime directory cannot be reached by other users: {blocked} is closed to them")
    home = runtime / f"{name}@own"
    if _make(home):
        uid = _free_user_id(runtime, name)
        os.chown(home, uid, uid, follow_symlinks=False)
    return home, _check(home, USER_IDS)


def first_closed(path: Path) -> Path | None:
    """The first directory on the way that a stranger may not pass, including the last one."""
    for part in (*reversed(path.parents), path):
        if not part.stat().st_mode & stat.S_IXOTH:
            return part
    return None


def _runtime(path: Path) -> Path:
    try:
        path.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise IsolationError(f"the runtime directory {path} cannot be made: {error.strerror}") from error
    resolved = path.resolve()
    found = resolved.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise IsolationError(f"the runtime directory {path} must belong to the gateway's user and be closed to writers")
    return resolved


def _make(home: Path) -> bool:
    try:
        home.mkdir(mode=0o700)
    except FileExistsError:
        return False
    except OSError as error:
        raise IsolationError(f"the private home {home} cannot be made: {error.strerror}") from error
    return True


def _check(home: Path, owners: range) -> int:
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        raise IsolationError(f"the private home {home} is not what it was made as; remove it")
    return found.st_uid


def _free_user_id(runtime: Path, name: str) -> int:
    """An id that no home here and no account has. Where to look first depends on the place, so that two gateways on
    one machine seldom meet."""
    taken = {entry.stat(follow_symlinks=False).st_uid for entry in os.scandir(runtime)}
    taken |= {account.pw_uid for account in pwd.getpwall()}
    start = int.from_bytes(hashlib.sha256(os.fsencode(runtime / name)).digest()[:4], "big")
    for step in range(len(USER_IDS)):
        uid = USER_IDS[(start + step) % len(USER_IDS)]
        if uid not in taken:
            return uid
    raise IsolationError(f"all user ids from {USER_IDS[0]} to {USER_IDS[-1]} are taken; remove homes that are not used")
