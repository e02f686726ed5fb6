"""Users: resources out of people and what was written of them, and back.

Fail closed: a password is never kept; a user without an address is refused.
"""

from typing import Any

from scim2_models import Resource

from callgate import ids
from callgate.errors import Refused
from callgate.identity import provisioning
from callgate.identity.provisioning import OffBoard, Wanted, key_of
from callgate.model.caller import Actor
from callgate.model.person import is_address
from callgate.model.provisioned import Group
from callgate.scim.shelf import Found, meta, plain, storable
from callgate.store import groups, scim_users
from callgate.store.scim_users import User
from callgate.store.unit import Unit

KIND = "User"
# members of a resource that are kept elsewhere, or nowhere
_ELSEWHERE = frozenset({"id", "meta", "groups", "active", "password"})


def wanted_of(resource: Resource[Any], known_as: str = "") -> Wanted:
    """What a request wants of a user, who had the address `known_as` until now. Raises `Refused("validation")`.

    E-mails that say no more than the user name does are not kept: they go along when the user name changes.
    """
    given = resource.model_dump()
    name = plain(given.get("userName"), "userName")
    if is_address(name) and given.get("emails") in (_emails(name.lower()), _emails(known_as)):
        del given["emails"]
    external = given.get("externalId")
    return Wanted(
        user_name=name,
        email=_address(name, given.get("emails") or []),
        active=given.get("active"),
        external_id=None if external is None else plain(external, "externalId"),
        document={key: value for key, value in given.items() if key not in _ELSEWHERE},
    )


def _address(user_name: str, emails: list[dict[str, Any]]) -> str:
    """The address of a person: the user name if it is one, else the primary e-mail, else the only one."""
    if is_address(user_name):
        return user_name.lower()
    primary = [one for one in emails if one.get("primary")] or emails
    address = str(primary[0].get("value") or "").strip() if len(primary) == 1 else ""
    if not is_address(address):
        raise Refused("validation", "A user needs an e-mail address: as `userName`, or as the primary one of `emails`.")
    return address.lower()


def _emails(address: str) -> list[dict[str, object]]:
    return [{"value": address, "primary": True}]


def document_of(user: User, member_of: list[Group]) -> dict[str, Any]:
    """A user as JSON (RFC 7643, section 4.1), with references relative to the root."""
    person, written = user
    shown = {key: value for key, value in written.document.items() if key not in _ELSEWHERE}
    shown.setdefault("userName", person.email)
    if not shown.get("emails"):
        shown["emails"] = _emails(person.email)
    groups_shown = [
        {"value": group.id, "$ref": f"Groups/{group.id}", "display": group.name, "type": "direct"}
        for group in member_of
    ]  # fmt: skip
    version = [written.edition, person.email, person.active, [[group.id, group.name] for group in member_of]]
    return {
        **shown,
        "id": person.id,
        "active": person.active,
        "groups": groups_shown or None,
        "meta": meta(KIND, person.created, written.modified, version),
    }


class UserShelf:
    """The users of a tenant."""

    def __init__(self, unit: Unit, model: type[Resource[Any]], off_board: OffBoard) -> None:
        self._unit = unit
        self._model = model
        self._off_board = off_board

    async def get(self, resource_id: str) -> Resource[Any] | None:
        """One user."""
        found = await self._shown((await scim_users.among(self._unit, self._ids([resource_id]))).values())
        return found[0] if found else None

    async def among(self, resource_ids: list[str]) -> Found:
        """Those of these ids that are users."""
        return await self._shown((await scim_users.among(self._unit, self._ids(resource_ids))).values())

    async def count(self) -> int:
        return await scim_users.count(self._unit)

    async def page(self, offset: int, limit: int) -> Found:
        """In the order of their ids."""
        return await self._shown(await scim_users.page(self._unit, offset, limit))

    async def after(self, resource_id: str, limit: int) -> Found:
        """In the order of their ids, those after one."""
        return await self._shown(await scim_users.after(self._unit, resource_id, limit))

    async def exactly(self, attribute: str, value: str) -> Found | None:
        """By user name, external id or id."""
        if not storable(value):
            return []
        if attribute == "username":
            one = await scim_users.by_user_name(self._unit, key_of(value))
            return await self._shown([] if one is None else [one])
        if attribute == "externalid":
            return await self._shown(await scim_users.by_external_id(self._unit, value))
        return await self.among([value]) if attribute == "id" else None

    async def create(self, actor: Actor, resource: Resource[Any]) -> str:
        """Add a user; their id."""
        return await provisioning.add(self._unit, actor, wanted_of(resource), self._off_board)

    async def update(self, actor: Actor, resource: Resource[Any]) -> None:
        """Write a user anew."""
        user = await self._one(str(resource.id))
        wanted = wanted_of(resource, user[0].email)
        await provisioning.change(self._unit, actor, user, wanted, self._off_board)

    async def delete(self, actor: Actor, resource_id: str) -> None:
        """Let a user out for good."""
        person, _ = await self._one(resource_id)
        await provisioning.remove(self._unit, actor, person, self._off_board)

    async def _one(self, resource_id: str) -> User:
        found = await scim_users.get(self._unit, resource_id)
        if found is None:
            raise Refused("not_found", "There is no such User.")
        return found

    @staticmethod
    def _ids(resource_ids: list[str]) -> list[str]:
        return [one for one in resource_ids if ids.is_row_id(one, "per")]

    async def _shown(self, users: Any) -> Found:
        found: list[User] = list(users)
        in_groups = await scim_users.groups_of(self._unit, [person.id for person, _ in found])
        known = await groups.among(self._unit, {one for some in in_groups.values() for one in some})
        return [
            self._model.model_validate(
                document_of(user, [known[one] for one in in_groups.get(user[0].id, []) if one in known])
            )
            for user in found
        ]
