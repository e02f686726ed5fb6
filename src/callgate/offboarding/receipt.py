"""The receipt of an off-boarding: who, when, what was ended, what each vendor answered, what is left to do.

Signed as a JSON Web Signature (RFC 7515, Ed25519) with a key of the tenant, published at `/oauth/jwks`; it changes, and
is signed anew, until the last vendor has answered (`complete`).
"""

import msgspec

from callgate import clock
from callgate.credentials.envelope import Envelope
from callgate.errors import Refused
from callgate.jose.tokens import signed
from callgate.model.offboarding import PENDING, REVOKED, Offboarding, Revocation, Summary
from callgate.store import offboarding, people
from callgate.store.engine import Database
from callgate.store.unit import Unit

KIND = "callgate-receipt+jwt"


class Ended(msgspec.Struct, frozen=True):
    """One upstream. `todo` is what somebody still has to do by hand, "" for nothing."""

    upstream: str
    state: str
    answer: str
    tries: int
    at: str
    todo: str


class Receipt(msgspec.Struct, frozen=True):
    """What is signed."""

    id: str
    tenant: str
    person: str
    email: str
    actor: str
    cause: str
    at: str
    summary: Summary
    upstreams: tuple[Ended, ...]
    complete: bool


class Signed(msgspec.Struct, frozen=True):
    """A receipt and its signature (compact JWS over the same content)."""

    receipt: Receipt
    signature: str


def _ended(one: Revocation) -> Ended:
    todo = "" if one.state in (PENDING, REVOKED) else one.answer
    return Ended(one.upstream_name, one.state, one.answer, one.tries, clock.iso(one.changed), todo)


async def receipt(unit: Unit, one: Offboarding) -> Receipt:
    """The receipt as it is now."""
    told = await offboarding.revocations_of(unit, one.id)
    emails = await people.emails_of(unit, [one.actor])
    return Receipt(
        one.id, unit.tenant, one.person, one.email, emails.get(one.actor, one.actor), one.cause, clock.iso(one.at),
        one.summary, tuple(map(_ended, told)), all(each.state != PENDING for each in told),
    )  # fmt: skip


async def signed_receipt(db: Database, envelope: Envelope, tenant: str, id_: str) -> Signed:
    """One receipt with its signature. Raises `Refused("not_found")`."""
    async with db.unit(tenant, write=False) as unit:
        one = await offboarding.get(unit, id_)
        if one is None:
            raise Refused("not_found", "There is no such receipt.")
        found = await receipt(unit, one)
    key = envelope.receipt_key(found.tenant)
    claims = {**msgspec.to_builtins(found), "iat": int(clock.now())}
    return Signed(found, signed(claims, key, "Ed25519", KIND))
