"""What wraps the tenants' keysets: the key file, or a key service outside.

A wrapping key never leaves its place; keysets go there and come back, bound to their tenant. Fail closed: bytes that a
key does not open for this tenant are `WrongKey`, a service that says no is `keys_refused`, one that does not answer
`keys_unavailable`.
"""

from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from callgate import clock
from callgate.credentials import keyfile
from callgate.credentials.derive import derive, joined
from callgate.errors import CallgateError

_NONCE = 12
_FILE = "file:"


class WrongKey(CallgateError):
    """This key does not open these bytes for this tenant."""


class WrappingKey(Protocol):
    """One place that wraps keysets. `name` is what new keysets say they are wrapped by; it tells no secret."""

    @property
    def name(self) -> str: ...

    def owns(self, name: str) -> bool:
        """Whether this place can open what is wrapped by a key of this name."""
        ...

    async def wrap(self, tenant: str, keyset: bytes) -> bytes:
        """Raises `Refused`: keys_unavailable, keys_refused, bad_setting."""
        ...

    async def unwrap(self, tenant: str, wrapped: bytes) -> bytes:
        """Raises `WrongKey`; `Refused` as `wrap`."""
        ...


class FileKeys:
    """The key file: its first key wraps, all of them open. It is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._keys: tuple[bytes, ...] = ()

    @property
    def name(self) -> str:
        return _FILE + derive(self._current()[0], "wrap", "name")[:4].hex()

    def owns(self, name: str) -> bool:
        return name.startswith(_FILE)

    async def wrap(self, tenant: str, keyset: bytes) -> bytes:
        nonce = clock.random_bytes(_NONCE)
        return nonce + _cipher(self._current()[0]).encrypt(nonce, keyset, joined("keyset", tenant))

    async def unwrap(self, tenant: str, wrapped: bytes) -> bytes:
        for key in self._current():
            try:
                return _cipher(key).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], joined("keyset", tenant))
            except (InvalidTag, ValueError):
                continue
        raise WrongKey

    def _current(self) -> tuple[bytes, ...]:
        seen = _stamp(self._path)
        if not self._keys or seen != self._seen:
            self._keys = keyfile.again(self._path)
            self._seen = seen or _stamp(self._path)
        return self._keys


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes with a file; () when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


def _cipher(key: bytes) -> AESGCM:
    return AESGCM(derive(key, "wrap"))
