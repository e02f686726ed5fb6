"""Asking a key service over our own outbound client: one POST of JSON, and what its status means."""

import base64
import binascii
from typing import NamedTuple

import msgspec

from callgate.errors import Refused
from callgate.net.client import Client
from callgate.net.errors import EgressError
from callgate.net.exchange import Limits
from callgate.net.policy import Network, TargetPolicy

_LIMITS = Limits(connect=3.0, first_byte=5.0, total=8.0, response_bytes=1024 * 1024)


class Answer(NamedTuple):
    """`text` is the body of an answer that is not 200, for telling errors apart; it is shown to nobody."""

    status: int
    body: dict[str, object]
    text: str


async def ask(
    outside: tuple[Client, tuple[Network, ...]], url: str, headers: dict[str, str], form: dict[str, str]
) -> Answer:
    """POST a JSON object. Raises `Refused("keys_unavailable")` when there is no answer, or one that says "later"."""
    client, networks = outside
    headers = {**headers, "content-type": "application/json", "accept": "application/json"}
    policy = TargetPolicy(True, networks)  # the operator chose the address
    try:
        async with await client.request(
            "POST", url, headers, msgspec.json.encode(form), policy=policy, limits=_LIMITS
        ) as response:  # fmt: skip
            raw = await response.read(_LIMITS.response_bytes or 0)
    except EgressError as error:
        raise Refused("keys_unavailable", f"The key service cannot be asked: {error}") from None
    if response.status >= 500 or response.status in (408, 429):
        raise Refused("keys_unavailable", f"The key service answered with status {response.status}; try again soon.")
    try:
        body = msgspec.json.decode(raw, type=dict[str, object])
    except msgspec.DecodeError:
        body = {}
    return Answer(response.status, body, raw.decode("utf-8", "replace"))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decoded(text: object) -> bytes:
    """Raises `Refused("keys_unavailable")`: the answer is not of the form that it has."""
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except binascii.Error:
        pass
    raise Refused("keys_unavailable", "The key service gave an answer of an unknown form.")
