"""Id formats: what an id looks like, and how one is made or recognised.

Row ids are `<prefix>_` and 26 characters that sort by time of creation (48 bits of milliseconds, 80 random bits,
Crockford base 32). Secrets are a prefix that says of which kind they are, and 43 characters of `[A-Za-z0-9_-]` (256
random bits), so that secret scanners can recognise them; only their SHA-256 is ever stored.
"""

import hashlib
import re
from functools import lru_cache

from callgate import clock

TOKEN_PREFIX = "cgt_"  # noqa: S105  a public prefix, not a secret
REFRESH, CODE, CLIENT_SECRET, BROWSER, LINK = "cgr_", "cgo_", "cgs_", "cgb_", "cgl_"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS = tuple(range(70, -1, -10))
_TOKEN = re.compile(r"cgt_[A-Za-z0-9_-]{43}")
_ROW = re.compile(f"([a-z]{{3}})_[{_ALPHABET}]{{26}}")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]|_(?!_)){0,30}[a-z0-9]|[a-z0-9]")


def new_id(prefix: str) -> str:
    """A fresh row id such as `ups_01jd…`; ids made later sort later (to the millisecond)."""
    random = int.from_bytes(clock.random_bytes(10), "big")
    rest = "".join([_PAIRS[random >> shift & 1023] for shift in _SHIFTS])
    return f"{prefix}_{_time_part(int(clock.now() * 1000))}{rest}"


@lru_cache(maxsize=2)
def _time_part(milliseconds: int) -> str:
    return "".join([_PAIRS[milliseconds >> shift & 1023] for shift in range(40, -1, -10)])


def is_row_id(text: str, prefix: str) -> bool:
    """Whether a text has the form of a row id with this prefix."""
    found = _ROW.fullmatch(text)
    return found is not None and found[1] == prefix


def new_token() -> str:
    """A fresh access token in clear. Show it once; store `token_hash` of it."""
    return TOKEN_PREFIX + clock.random_urlsafe(32)


def new_secret(prefix: str) -> str:
    """A fresh secret of a kind. Show it once; store `token_hash` of it."""
    return prefix + clock.random_urlsafe(32)


def looks_like_token(text: str) -> bool:
    """Whether a text has the form of an access token; says nothing of its validity."""
    return _TOKEN.fullmatch(text) is not None


def token_hash(token: str) -> bytes:
    """SHA-256 of a token: what the store and the caches know a token by (32 bytes)."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def valid_slug(text: str) -> bool:
    """Whether a text may name an upstream, agent or tenant: 1 to 32 of `[a-z0-9_-]`, no `__`, alphanumeric ends.

    `__` is kept out because it parts the upstream from the tool in a public name (design §5).
    """
    return _SLUG.fullmatch(text) is not None
