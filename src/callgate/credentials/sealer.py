"""Sealed tokens: bytes that a client carries and cannot read, change or make (AES-256-GCM, RFC 5116).

The text is base64url of `key number (4) · nonce (12) · ciphertext and tag`, the purpose is authenticated with it. Fail
closed: whatever this did not seal for the same purpose, to the last character, opens as None.
"""

import base64
import binascii
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from callgate import clock
from callgate.credentials.derive import derive, joined

_NUMBER = 4
_NONCE = 12


class Sealer:
    """Seals and opens for one purpose. `keys` are those of the key file, the sealing one first."""

    def __init__(self, keys: Sequence[bytes], purpose: str) -> None:
        self._aad = joined("token", purpose)
        derived = [derive(key, "token", purpose) for key in keys]
        self._ciphers = {self._number(key): AESGCM(key) for key in reversed(derived)}
        self._first = self._number(derived[0])

    def seal(self, data: bytes) -> str:
        """Text of `[A-Za-z0-9_-]`, 43 characters and 4/3 of the data long."""
        nonce = clock.random_bytes(_NONCE)
        sealed = self._ciphers[self._first].encrypt(nonce, data, self._aad)
        return base64.urlsafe_b64encode(self._first + nonce + sealed).decode().rstrip("=")

    def open(self, text: str) -> bytes | None:
        """What was sealed, or None."""
        raw = _decoded(text)
        cipher = self._ciphers.get(raw[:_NUMBER])
        if cipher is None or len(raw) < _NUMBER + _NONCE + 16:
            return None
        nonce, sealed = raw[_NUMBER : _NUMBER + _NONCE], raw[_NUMBER + _NONCE :]
        try:
            return cipher.decrypt(nonce, sealed, self._aad)
        except InvalidTag:
            return None

    @staticmethod
    def _number(key: bytes) -> bytes:
        # tells keys apart without trying each; a derived value says nothing of the key
        return derive(key, "number")[:_NUMBER]


def _decoded(text: str) -> bytes:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return b""
    # the spare bits of the last character would give one token several spellings
    return raw if base64.urlsafe_b64encode(raw).decode().rstrip("=") == text else b""
