"""People as an identity provider writes them: added, changed, let in and out, each change with its record.

Fail closed: who is let out ends through the one function that is handed in; coming back revives no token; somebody who
was deleted comes back as a plain member; the last active admin stays one.
"""

from collections.abc import Awaitable, Callable
from unicodedata import normalize

import msgspec

from callgate import clock
from callgate.errors import Refused
from callgate.identity import groups, people
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.person import Person
from callgate.model.provisioned import Provisioned
from callgate.store import rows, scim_users
from callgate.store.unit import Unit

MAX_DOCUMENT = 256 * 1024
OffBoard = Callable[[Unit, Actor, Person], Awaitable[object]]  # ends all access of a person


class Wanted(msgspec.Struct, frozen=True):
    """A user as the identity provider wants them. `active` None leaves it as it is."""

    user_name: str
    email: str
    active: bool | None
    external_id: str | None
    document: dict[str, object]

    @property
    def key(self) -> str:
        """The user name as it is compared."""
        return key_of(self.user_name)


def key_of(user_name: str) -> str:
    """A user name as it is compared: in whatever case (RFC 7643, section 4.1.1)."""
    return normalize("NFC", normalize("NFC", user_name).lower())


async def add(unit: Unit, actor: Actor, wanted: Wanted, off_board: OffBoard) -> str:
    """Add a user; their row id. Somebody who was deleted comes back under the id they had, as a plain member.

    Raises `Refused`: conflict (user name or address is taken), validation.
    """
    known = await scim_users.by_email(unit, wanted.email)
    taken = await scim_users.by_user_name(unit, wanted.key)
    if taken is not None or (known is not None and not _deleted(*known)):
        raise Refused("conflict", "There is already a user with this user name or e-mail address.")
    if known is None:
        person, written = await people.add(unit, actor, wanted.email), None
    else:
        person, written = await _back(unit, actor, known[0]), known[1]
    await _write(unit, written or Provisioned(person.id), wanted)
    if wanted.active is False:
        await off_board(unit, actor, person)
    return person.id


async def change(
    unit: Unit, actor: Actor, user: tuple[Person, Provisioned], wanted: Wanted, off_board: OffBoard
) -> None:  # fmt: skip
    """Write a user anew. Raises `Refused`: conflict, validation, last_admin."""
    person, written = user
    other = await scim_users.by_user_name(unit, wanted.key)
    if other is not None and other[0].id != person.id:
        raise Refused("conflict", "Another user has this user name.")
    if wanted.email != person.email:
        person = await people.rename(unit, actor, person, wanted.email)
    elif written.document != wanted.document:
        await record(unit, actor, "people.change", person.id)
    await _write(unit, written, wanted)
    if wanted.active is False and person.active:
        await _let_out(unit, actor, person, off_board)
    elif wanted.active and not person.active:
        await people.reactivate(unit, actor, person)


async def remove(unit: Unit, actor: Actor, person: Person, off_board: OffBoard) -> None:
    """Delete a user: all access ends, they leave every group, and what was written of them is forgotten.

    The person stays, for the audit. Raises `Refused("last_admin")`.
    """
    await _let_out(unit, actor, person, off_board)
    await groups.leave_all(unit, actor, person)
    found = await scim_users.get(unit, person.id, removed=True)
    edition = 0 if found is None else found[1].edition
    await scim_users.put(
        unit, Provisioned(person.id, modified=clock.now(), edition=edition + 1, removed=True)
    )  # fmt: skip
    await record(unit, actor, "people.remove", person.id)


def _deleted(person: Person, written: Provisioned) -> bool:
    return written.removed and not person.active


async def _back(unit: Unit, actor: Actor, person: Person) -> Person:
    person = await people.change(unit, actor, person, ("member",), ())
    return await people.reactivate(unit, actor, person)


async def _let_out(unit: Unit, actor: Actor, person: Person, off_board: OffBoard) -> None:
    if person.active and "admin" in person.roles:
        await people.some_admin_stays(unit, without=person.id)
    await off_board(unit, actor, person)


async def _write(unit: Unit, written: Provisioned, wanted: Wanted) -> None:
    if len(rows.to_json(wanted.document)) > MAX_DOCUMENT:
        raise Refused("validation", f"A user is larger than {MAX_DOCUMENT} bytes.")
    await scim_users.put(
        unit,
        msgspec.structs.replace(
            written,
            user_name=wanted.key,
            external_id=wanted.external_id,
            document=wanted.document,
            modified=clock.now(),
            edition=written.edition + 1,
            removed=False,
        ),
    )
