"""Keys for one use each, derived from a key of the key file (RFC 5869, HKDF with SHA-256)."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def joined(*parts: str | bytes) -> bytes:
    """Parts as one byte string that no other parts give: each with its length before it."""
    raw = [part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in raw)


def derive(key: bytes, *use: str) -> bytes:
    """32 bytes for one use."""
    return HKDF(SHA256(), 32, salt=None, info=joined("callgate", *use)).derive(key)
