"""Sealed mail between replicas: X25519 to the receiver's key, HKDF, AES-256-GCM (an ECIES; RFC 7748, RFC 5869).

A secret that only holders of the key file have goes into the derivation, so who can merely write to the store can
neither read nor forge a message. Fail closed: what does not open is None.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from callgate.credentials.derive import joined

_PUBLIC = 32
_ZERO_NONCE = bytes(12)  # each message has a key of its own


class ReplicaKey:
    """One process's key pair; it lives and dies with the process. `public` is 32 bytes."""

    def __init__(self, private: X25519PrivateKey, secret: bytes) -> None:
        self._private = private
        self._secret = secret
        self.public = private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, secret: bytes = b"") -> "ReplicaKey":
        """A fresh pair. `secret` is shared by all replicas (`Envelope.replica_key` gives it)."""
        return cls(X25519PrivateKey.generate(), secret)

    def seal_for(self, public: bytes, data: bytes) -> bytes:
        """Seal for the holder of a public key. Raises `ValueError` for what is no X25519 key."""
        once = X25519PrivateKey.generate()
        own = once.public_key().public_bytes_raw()
        shared = once.exchange(X25519PublicKey.from_public_bytes(public))
        return own + self._cipher(shared, own, public).encrypt(_ZERO_NONCE, data, None)

    def open(self, sealed: bytes) -> bytes | None:
        """What was sealed for this key by a holder of the same secret, or None."""
        theirs = sealed[:_PUBLIC]
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(theirs))
            return self._cipher(shared, theirs, self.public).decrypt(_ZERO_NONCE, sealed[_PUBLIC:], None)
        except (InvalidTag, ValueError):
            return None

    def _cipher(self, shared: bytes, sender: bytes, receiver: bytes) -> AESGCM:
        info = joined("callgate", "mail", sender, receiver)
        return AESGCM(HKDF(SHA256(), 32, salt=None, info=info).derive(joined(shared, self._secret)))
