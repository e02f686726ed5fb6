"""The public keys of an issuer: given, or fetched from its `jwks_uri` and kept.

A key id that nobody knows makes us look once more, but not more often than once a minute, so that forged ids cost the
issuer nothing. Fail closed: keys that cannot be had make every token wrong.
"""

import asyncio

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from callgate import clock
from callgate.jose.tokens import WrongToken
from callgate.net.client import Client
from callgate.net.errors import EgressError
from callgate.net.exchange import Limits
from callgate.net.policy import TargetPolicy

_KEPT, _PAUSE, _AWAY = 3600.0, 60.0, 5.0
_MOST = 256 * 1024
_LIMITS = Limits(connect=5.0, first_byte=5.0, idle=5.0, total=10.0, response_bytes=_MOST)


class Keys:
    """Keys of one issuer. `uri` is where they are fetched, `given` a JSON Web Key Set where they are known."""

    def __init__(self, client: Client, policy: TargetPolicy, uri: str, given: str = "") -> None:
        self._client = client
        self._policy = policy
        self._uri = uri
        self._known = _parsed(given.encode()) if given else None
        self._fixed = bool(given)
        self._at = 0.0
        self._failed: float | None = None
        self._lock = asyncio.Lock()

    async def all(self, key_id: str | None = None) -> KeySet:
        """The keys; fetched anew where they are old, or where none has this id. Raises `WrongToken`."""
        async with self._lock:
            age = clock.monotonic() - self._at
            unknown = key_id is not None and (self._known is None or key_id not in _ids(self._known))
            if not self._fixed and (self._known is None or age > _KEPT or (unknown and age > _PAUSE)):
                await self._fetch()
        if self._known is None:
            raise WrongToken("there is no key to check it with")
        return self._known

    async def _fetch(self) -> None:
        if self._failed is not None and clock.monotonic() - self._failed < _AWAY:
            raise WrongToken("the issuer's keys could not be fetched a moment ago")
        try:
            self._known = await self._fetched()
        except WrongToken:
            self._failed = clock.monotonic()
            raise
        self._at, self._failed = clock.monotonic(), None

    async def _fetched(self) -> KeySet:
        if not self._uri:
            raise WrongToken("its issuer publishes no keys")
        headers = {"accept": "application/json"}
        try:
            async with await self._client.request(
                "GET", self._uri, headers, policy=self._policy, limits=_LIMITS
            ) as answer:  # fmt: skip
                if answer.status != 200:
                    raise WrongToken(f"the issuer's keys answered with status {answer.status}")
                return _parsed(await answer.read(_MOST))
        except EgressError as error:
            raise WrongToken(f"the issuer's keys cannot be fetched: {error}") from None


def _ids(keys: KeySet) -> set[str | None]:
    return {key.kid for key in keys.keys}


def _parsed(raw: bytes) -> KeySet:
    """A key set without what we cannot use, such as keys of unknown types."""
    try:
        listed = msgspec.json.decode(raw, type=dict[str, object]).get("keys")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        listed = None
    usable = []
    for one in listed if isinstance(listed, list) else []:
        try:
            usable += KeySet.import_key_set({"keys": [one]}).keys
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    if not usable:
        raise WrongToken("the issuer's keys are of no use")
    return KeySet(usable)
