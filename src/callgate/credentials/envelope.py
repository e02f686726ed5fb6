"""Envelope encryption: a wrapping key outside the store, one Tink keyset per tenant, the keyset seals its secrets.

The key file also gives the keys of what is short-lived or public: sealed tokens, keyed hashes, mail, receipts. Fail
closed: a keyset that cannot be unwrapped refuses (`keyring`), a secret that does not open raises `Refused`.
"""

import contextlib
import hmac
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import tink
from joserfc.jwk import OKPKey
from tink import aead

from callgate.credentials import keyfile
from callgate.credentials.derive import derive, joined
from callgate.credentials.keyring import Keyring, Lifetimes
from callgate.credentials.replica_key import ReplicaKey
from callgate.credentials.sealer import Sealer
from callgate.credentials.wrapping import FileKeys, WrappingKey
from callgate.errors import Refused
from callgate.jose.tokens import ed25519
from callgate.store.engine import Database


class Envelope:
    """All keys of one installation, and the keysets of its tenants."""

    def __init__(self, keys: tuple[bytes, ...], keyring: Keyring) -> None:
        self._keys = keys
        self.keyring = keyring
        self._mac_key = lru_cache(maxsize=4096)(self._derive_mac_key)

    @classmethod
    def open(
        cls, path: Path, db: Database, wrapping: Sequence[WrappingKey] = (), lifetimes: Lifetimes | None = None
    ) -> "Envelope":
        """Read the key file, or make it; `wrapping` come before it. Raises `Refused("bad_setting")`."""
        keys = keyfile.load(path)
        return cls(keys, Keyring(db, (*wrapping, FileKeys(path)), lifetimes or Lifetimes()))

    async def unlock(self, tenant: str) -> None:
        """Have the tenant's keyset at hand, made when there is none: before a unit that writes sealed values.

        Raises `Refused`: bad_setting (the wrapping key does not fit the database), keys_unavailable, keys_refused,
        keys_destroyed, store_unavailable.
        """
        await self.keyring.primitive(tenant)

    async def warm(self, tenant: str) -> None:
        """The same where perhaps nothing has to be sealed: what stands in the way is said by `seal`."""
        with contextlib.suppress(Refused):
            await self.unlock(tenant)

    async def seal(self, tenant: str, purpose: str, aad: bytes, plain: bytes) -> bytes:
        """Seal a secret; it opens only with the same tenant, purpose and `aad` (say, the row it belongs to).

        Raises `Refused` as `unlock`, which comes first where a unit is open.
        """
        primitive = await self.keyring.primitive(tenant)
        sealed: bytes = primitive.encrypt(plain, joined(tenant, purpose, aad))
        return sealed

    async def open_sealed(self, tenant: str, purpose: str, aad: bytes, sealed: bytes) -> bytes:
        """The secret. Raises `Refused("internal")` when it does not open, else as `unlock`."""
        return _opened(await self.keyring.primitive(tenant, sealed), sealed, joined(tenant, purpose, aad))

    def open_at_hand(self, tenant: str, purpose: str, aad: bytes, sealed: bytes) -> bytes | None:
        """The secret, if the keys are at hand; None where it takes a wait. Raises `Refused("internal")`."""
        primitive = self.keyring.at_hand(tenant, sealed)
        return None if primitive is None else _opened(primitive, sealed, joined(tenant, purpose, aad))

    def sealer(self, purpose: str) -> Sealer:
        """Sealed tokens of one purpose: `session`, `cursor`, `request-state`, `server-request`, `task`,
        `note`."""
        return Sealer(self._keys, purpose)

    def mac(self, tenant: str, purpose: str, data: bytes) -> bytes:
        """Keyed hash (HMAC-SHA-256, 32 bytes): equal for equal data of one tenant and purpose, else without meaning.

        Made with the last key of the key file, so that adding a key to the front changes no hash.
        """
        return hmac.digest(self._mac_key(tenant, purpose), data, "sha256")

    def receipt_key(self, tenant: str) -> OKPKey:
        """The key that this tenant's receipts are signed with (Ed25519)."""
        return ed25519(derive(self._keys[-1], "receipt", tenant))

    def replica_key(self) -> ReplicaKey:
        """A fresh key pair for this process's mail, bound to this key file."""
        return ReplicaKey.generate(derive(self._keys[-1], "mail"))

    # -- inside -----------------------------------------------------------------------------------------------------

    def _derive_mac_key(self, tenant: str, purpose: str) -> bytes:
        return derive(self._keys[-1], "mac", tenant, purpose)


def _opened(primitive: aead.Aead, sealed: bytes, bound: bytes) -> bytes:
    try:
        plain: bytes = primitive.decrypt(sealed, bound)
    except tink.TinkError:
        raise Refused("internal", "A stored secret does not open; set it again.") from None
    return plain
