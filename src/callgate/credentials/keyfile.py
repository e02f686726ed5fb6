"""The key file: where every key of an installation comes from.

Text, one key a line, `callgate-key-1.` and 32 bytes in base64url; lines that begin with `#` are comments. The first key
seals; the others only open what was sealed before a change of keys. Fail closed: a file that anybody but its owner can
read or write, or that holds anything else, is `bad_setting`. Made at the first start, by one of several processes.
"""

import base64
import binascii
import contextlib
import os
from pathlib import Path

from callgate import clock
from callgate.errors import Refused

KEY_BYTES = 32
_PREFIX = "callgate-key-1."
_COMMENT = "# Callgate's key file. Whoever has it can read every secret in the store. Back it up; never share it.\n"


def load(path: Path) -> tuple[bytes, ...]:
    """The keys of a file, made when there is none. Raises `Refused("bad_setting")` with what to do."""
    try:
        if not path.exists():
            _create(path)
        return _read(path)
    except OSError as error:
        raise Refused("bad_setting", f"The key file {path} cannot be used: {error.strerror}.") from None


def again(path: Path) -> tuple[bytes, ...]:
    """The keys of a file that was there before; it is never made here. Raises `Refused`: bad_setting, and
    keys_unavailable while the file is away."""
    try:
        return _read(path)
    except OSError as error:
        raise Refused("keys_unavailable", f"The key file {path} cannot be read ({error.strerror}).") from None


def secret(path: Path) -> str:
    """The one line of a file that holds a secret of somebody else's. Raises `Refused("bad_setting")`."""
    try:
        lines = _lines(path)
    except OSError as error:
        raise Refused("bad_setting", f"The key file {path} cannot be used: {error.strerror}.") from None
    if len(lines) != 1 or not lines[0].isprintable():
        raise Refused("bad_setting", f"The key file {path} must hold one line: the key.")
    return lines[0]


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{clock.random_urlsafe(6)}")
    line = _PREFIX + base64.urlsafe_b64encode(clock.random_bytes(KEY_BYTES)).decode().rstrip("=") + "\n"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, (_COMMENT + line).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        # a link, not a rename: of two processes that start at once, one makes the key and both use it
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[bytes, ...]:
    keys = tuple(_key(path, line) for line in _lines(path))
    if not keys:
        raise Refused("bad_setting", f"The key file {path} holds no key; restore it from your backup.")
    return keys


def _lines(path: Path) -> list[str]:
    """What stands in a file that is its owner's alone, without empty lines and comments."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise Refused("bad_setting", f"Others can read the key file {path} (mode {mode:o}); run: chmod 600 {path}")
        text = file.read(65_536)
    lines = [line.strip() for line in text.decode("ascii", "replace").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _key(path: Path, line: str) -> bytes:
    encoded = line.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        key = b""
    if not line.startswith(_PREFIX) or len(key) != KEY_BYTES:
        raise Refused("bad_setting", f"The key file {path} is damaged; restore it from your backup.")
    return key
