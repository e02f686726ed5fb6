"""Passkeys (Web Authentication Level 3), by py_webauthn: adding one, and signing in with one.

A challenge goes to the browser sealed and comes back with the answer; it is good once and for five minutes. Fail
closed: an answer for another host, another challenge, a copied key (its counter went back) or somebody inactive is
refused.
"""

import base64
from urllib.parse import urlsplit

import msgspec
from starlette.responses import JSONResponse, Response
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from callgate import clock, ids
from callgate.errors import Refused
from callgate.identity import throttle
from callgate.identity.browser import is_fresh
from callgate.identity.once import once
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.person import Person
from callgate.model.signin import PASSKEY, Passkey
from callgate.signin.entering import enter, signed_in
from callgate.store import people, signin
from callgate.web.forms import printable
from callgate.web.site import Visit

_SECONDS = 300.0
_WRONG = Refused("sign_in_failed", "This passkey does not open anything here.")


class Challenge(msgspec.Struct, frozen=True):
    """What the authenticator has to sign; `person` is who adds a key, "" for a sign-in."""

    value: bytes
    person: str
    expires: float


class Answer(msgspec.Struct, frozen=True):
    """What a page's script sends."""

    state: str
    credential: msgspec.Raw
    name: str = ""
    next: str = ""


_answer = msgspec.json.Decoder(Answer).decode
_challenge = msgspec.json.Decoder(Challenge).decode


def _host(visit: Visit) -> str:
    return urlsplit(visit.base).hostname or ""


def _begun(visit: Visit, purpose: str, person: str) -> tuple[bytes, str]:
    challenge = Challenge(clock.random_bytes(32), person, clock.now() + _SECONDS)
    return challenge.value, visit.sealed(purpose, challenge)


async def _back(visit: Visit, purpose: str) -> tuple[Answer, Challenge]:
    """What a script sent, and the challenge that it answers, used up. Raises `Refused`."""
    try:
        answer = _answer(await visit.json())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("validation") from None
    opened = visit.site.envelope.sealer(purpose).open(answer.state)
    challenge = None if opened is None else _challenge(opened)
    if challenge is None or challenge.expires <= clock.now():
        raise Refused("sign_in_failed", "That took too long; try again.")
    await once(visit.site.db, visit.tenant, purpose, challenge.value.hex(), challenge.expires)
    return answer, challenge


def _adding(visit: Visit) -> Person:
    """Who is signed in and has proved it a moment ago. Raises `Refused`."""
    if visit.session is None or visit.person is None or not is_fresh(visit.session):
        raise Refused("forbidden", "Sign in again first; this needs that you have just done so.")
    return visit.person


async def options(visit: Visit) -> Response:
    """POST /account/passkeys/options."""
    person = _adding(visit)
    await visit.json()
    challenge, state = _begun(visit, "passkey-add", person.id)
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        known = await signin.passkeys_of(unit, person.id)
    made = generate_registration_options(
        rp_id=_host(visit), rp_name="Callgate", user_id=person.id.encode(), user_name=person.email,
        challenge=challenge,
        exclude_credentials=[PublicKeyCredentialDescriptor(id=one.credential) for one in known],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
    )  # fmt: skip
    return JSONResponse(
        {"options": msgspec.json.decode(options_to_json(made)), "state": state}, headers={"Cache-Control": "no-store"}
    )


async def add(visit: Visit) -> Response:
    """POST /account/passkeys."""
    person = _adding(visit)
    answer, challenge = await _back(visit, "passkey-add")
    if challenge.person != person.id:
        raise Refused("forbidden")
    try:
        made = verify_registration_response(
            credential=msgspec.json.decode(answer.credential), expected_challenge=challenge.value,
            expected_rp_id=_host(visit), expected_origin=visit.base, require_user_verification=True,
        )  # fmt: skip
    except (WebAuthnException, ValueError, KeyError, TypeError, RecursionError):
        raise Refused("validation", "This passkey cannot be added.") from None
    key = Passkey(
        ids.new_id("pky"), person.id, made.credential_id, made.credential_public_key, made.sign_count,
        printable(answer.name) or "passkey", clock.now(),
    )  # fmt: skip
    async with visit.site.db.unit(visit.tenant) as unit:
        await signin.add_passkey(unit, key)
        await record(unit, Actor(visit.tenant, "person", person.id, ()), "passkeys.add", key.id)
    return JSONResponse({"id": key.id, "name": key.name}, 201, {"Cache-Control": "no-store"})


async def sign_in_options(visit: Visit) -> Response:
    """POST /signin/passkey/options."""
    await visit.json()
    challenge, state = _begun(visit, "passkey-sign-in", "")
    made = generate_authentication_options(
        rp_id=_host(visit), challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
    )
    return JSONResponse(
        {"options": msgspec.json.decode(options_to_json(made)), "state": state}, headers={"Cache-Control": "no-store"}
    )


async def sign_in(visit: Visit) -> Response:
    """POST /signin/passkey."""
    tried = throttle.keys("passkey", visit.address)
    async with visit.site.db.unit(visit.tenant, write=False) as unit:
        await throttle.check(unit, tried)
    answer, challenge = await _back(visit, "passkey-sign-in")
    try:
        given = msgspec.json.decode(answer.credential, type=dict[str, object])
        raw = str(given.get("rawId", ""))
        credential = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Refused("validation") from None
    async with visit.site.db.unit(visit.tenant) as unit:
        key = await signin.passkey(unit, credential)
        person = await people.locked(unit, key.person) if key is not None else None
        counter = _counter(visit, key, challenge, given) if key is not None else None
        if key is None or counter is None or person is None or not person.active:
            await throttle.failed(unit, tried)
            clear = None
        else:
            await signin.use_passkey(unit, key.id, counter, clock.now())
            clear = await enter(unit, visit, person.id, PASSKEY)
    if clear is None:
        raise _WRONG
    return signed_in(visit, clear, JSONResponse({"next": visit.next_of(answer.next)}))


def _counter(visit: Visit, key: Passkey, challenge: Challenge, given: dict[str, object]) -> int | None:
    """The authenticator's new counter, None for an answer that is not good."""
    try:
        found = verify_authentication_response(
            credential=given, expected_challenge=challenge.value, expected_rp_id=_host(visit),
            expected_origin=visit.base, credential_public_key=key.public_key, credential_current_sign_count=key.counter,
            require_user_verification=True,
        )  # fmt: skip
    except (WebAuthnException, ValueError, KeyError, TypeError):
        return None
    return found.new_sign_count
