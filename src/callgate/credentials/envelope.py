"""Envelope encryption: the key file wraps one Tink keyset per tenant, the keyset seals the tenant's secrets.

Keysets are kept in the store, wrapped, made by whichever replica needs one first. Fail closed: a keyset that this key
file does not open is `bad_setting` (a wrong key file, or a lost one); a secret that does not open raises `Refused`.
"""

import hmac
from functools import lru_cache
from pathlib import Path

import tink
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tink import aead

from callgate import clock
from callgate.credentials import keyfile
from callgate.credentials.derive import derive, joined
from callgate.credentials.replica_key import ReplicaKey
from callgate.credentials.sealer import Sealer
from callgate.errors import Refused
from callgate.store import keysets
from callgate.store.engine import Database

_NONCE = 12
aead.register()


class _FileKey(aead.Aead):  # type: ignore[misc]  # tink has no types
    """A key of the key file in the form in which Tink takes a wrapping key (a cloud KMS has the same form)."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(derive(key, "wrap"))

    def encrypt(self, plaintext: bytes, associated_data: bytes) -> bytes:
        nonce = clock.random_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plaintext, associated_data)

    def decrypt(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        try:
            return self._cipher.decrypt(ciphertext[:_NONCE], ciphertext[_NONCE:], associated_data)
        except (InvalidTag, ValueError):
            raise tink.TinkError("the key does not open this keyset") from None


class Envelope:
    """All keys of one installation. Holds no secret of a tenant; `unlock` a tenant before sealing for it."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = keys
        self._wrapping = [_FileKey(key) for key in keys]
        self._tenants: dict[str, aead.Aead] = {}
        self._mac_key = lru_cache(maxsize=4096)(self._derive_mac_key)

    @classmethod
    def open(cls, path: Path) -> "Envelope":
        """Read the key file, or make it. Raises `Refused("bad_setting")`."""
        return cls(keyfile.load(path))

    async def unlock(self, db: Database, tenant: str) -> None:
        """Load the tenant's keyset, or make it; costs nothing when done before.

        Raises `Refused`: bad_setting (this key file does not fit the database), store_unavailable.
        """
        if tenant in self._tenants:
            return
        async with db.unit(tenant, write=False) as unit:
            wrapped = await keysets.get(unit)
        if wrapped is None:
            async with db.unit(tenant) as unit:
                wrapped = await keysets.put_first(unit, self._fresh_keyset(tenant))
        self._tenants[tenant] = self._unwrapped(tenant, wrapped)

    def seal(self, tenant: str, purpose: str, aad: bytes, plain: bytes) -> bytes:
        """Seal a secret; it opens only with the same tenant, purpose and `aad` (say, the row it belongs to).

        Raises `LookupError` when the tenant was not unlocked.
        """
        sealed: bytes = self._tenants[tenant].encrypt(plain, joined(tenant, purpose, aad))
        return sealed

    def open_sealed(self, tenant: str, purpose: str, aad: bytes, sealed: bytes) -> bytes:
        """The secret. Raises `Refused("internal")` when it does not open, `LookupError` as `seal`."""
        try:
            plain: bytes = self._tenants[tenant].decrypt(sealed, joined(tenant, purpose, aad))
        except tink.TinkError:
            raise Refused("internal", "A stored secret does not open; set it again.") from None
        return plain

    def sealer(self, purpose: str) -> Sealer:
        """Sealed tokens of one purpose: `session`, `cursor`, `request-state`, `server-request`, `task`,
        `note`."""
        return Sealer(self._keys, purpose)

    def mac(self, tenant: str, purpose: str, data: bytes) -> bytes:
        """Keyed hash (HMAC-SHA-256, 32 bytes): equal for equal data of one tenant and purpose, else without meaning.

        Made with the last key of the key file, so that adding a key to the front changes no hash.
        """
        return hmac.digest(self._mac_key(tenant, purpose), data, "sha256")

    def replica_key(self) -> ReplicaKey:
        """A fresh key pair for this process's mail, bound to this key file."""
        return ReplicaKey.generate(derive(self._keys[-1], "mail"))

    # -- inside -----------------------------------------------------------------------------------------------------

    def _derive_mac_key(self, tenant: str, purpose: str) -> bytes:
        return derive(self._keys[-1], "mac", tenant, purpose)

    def _fresh_keyset(self, tenant: str) -> bytes:
        handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
        wrapped: bytes = tink.proto_keyset_format.serialize_encrypted(
            handle, self._wrapping[0], joined("keyset", tenant)
        )
        return wrapped

    def _unwrapped(self, tenant: str, wrapped: bytes) -> aead.Aead:
        for key in self._wrapping:
            try:
                handle = tink.proto_keyset_format.parse_encrypted(wrapped, key, joined("keyset", tenant))
            except tink.TinkError:
                continue
            return handle.primitive(aead.Aead)
        raise Refused(
            "bad_setting", "This key file does not open the secrets of this database; use the one they were made with."
        )
