"""Groups: resources out of groups and their members, and back.

Fail closed: a member that is no user of the tenant is refused; groups in groups are refused.
"""

from typing import Any

from scim2_models import Resource, ResponseParameters

from callgate import ids
from callgate.errors import Refused
from callgate.identity import groups as identity
from callgate.model.caller import Actor
from callgate.model.provisioned import Group, Member
from callgate.scim.shelf import Found, meta, plain, storable
from callgate.store import groups
from callgate.store.unit import Unit

KIND = "Group"


def document_of(group: Group, members: list[Member]) -> dict[str, Any]:
    """A group as JSON (RFC 7643, section 4.2), with references relative to the root."""
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "id": group.id,
        "externalId": group.external_id,
        "displayName": group.name,
        "members": [
            {"value": one.person, "$ref": f"Users/{one.person}", "type": "User", "display": one.display}
            for one in members
        ]
        or None,
        "meta": meta(KIND, group.created, group.modified, [group.id, group.edition]),
    }  # fmt: skip


def members_of(given: list[dict[str, Any]]) -> dict[str, str | None]:
    """Person → what they are called, in the order given. Raises `Refused("validation")`."""
    found: dict[str, str | None] = {}
    for one in given:
        if str(one.get("type") or "User").lower() != "user":
            raise Refused("validation", "Groups in groups are not supported; put the people into the group.")
        value, display = one.get("value"), one.get("display")
        if not isinstance(value, str):
            raise Refused("validation", "A member needs the id of a user as its `value`.")
        found[value] = None if display is None else plain(display, "members.display")
    return found


class GroupShelf:
    """The groups of a tenant. Members are left out where nobody asked for them: there can be many."""

    def __init__(self, unit: Unit, model: type[Resource[Any]], asked: ResponseParameters[Any] | None) -> None:
        self._unit = unit
        self._model = model
        self._with_members = asked is None or _wants_members(asked)

    async def get(self, resource_id: str) -> Resource[Any] | None:
        """One group."""
        found = await self.among([resource_id])
        return found[0] if found else None

    async def among(self, resource_ids: list[str]) -> Found:
        """Those of these ids that are groups."""
        wanted = [one for one in resource_ids if ids.is_row_id(one, "grp")]
        return await self._shown((await groups.among(self._unit, wanted)).values())

    async def count(self) -> int:
        return await groups.count(self._unit)

    async def page(self, offset: int, limit: int) -> Found:
        """In the order of their ids."""
        return await self._shown(await groups.page(self._unit, offset, limit))

    async def after(self, resource_id: str, limit: int) -> Found:
        """In the order of their ids, those after one."""
        return await self._shown(await groups.after(self._unit, resource_id, limit))

    async def exactly(self, attribute: str, value: str) -> Found | None:
        """By display name, external id or id."""
        if not storable(value):
            return []
        if attribute == "displayname":
            one = await groups.by_team(self._unit, identity.team_of(value.strip()))
            return await self._shown([] if one is None else [one])
        if attribute == "externalid":
            return await self._shown(await groups.by_external_id(self._unit, value))
        return await self.among([value]) if attribute == "id" else None

    async def create(self, actor: Actor, resource: Resource[Any]) -> str:
        """Add a group; its id."""
        return (await identity.add(self._unit, actor, *_wanted(resource))).id

    async def update(self, actor: Actor, resource: Resource[Any]) -> None:
        """Write a group anew."""
        group = await self._one(str(resource.id))
        await identity.change(self._unit, actor, group, *_wanted(resource))

    async def delete(self, actor: Actor, resource_id: str) -> None:
        """Delete a group."""
        await identity.remove(self._unit, actor, await self._one(resource_id))

    async def _one(self, resource_id: str) -> Group:
        found = await groups.get(self._unit, resource_id)
        if found is None:
            raise Refused("not_found", "There is no such Group.")
        return found

    async def _shown(self, found: Any) -> Found:
        shown: list[Group] = list(found)
        members: dict[str, list[Member]] = {}
        if self._with_members:
            members = await groups.members_of(self._unit, [group.id for group in shown])
        return [self._model.model_validate(document_of(group, members.get(group.id, []))) for group in shown]


def _wanted(resource: Resource[Any]) -> tuple[str, str | None, dict[str, str | None]]:
    given = resource.model_dump()
    external = given.get("externalId")
    return (
        plain(given.get("displayName"), "displayName"),
        None if external is None else plain(external, "externalId"),
        members_of(given.get("members") or []),
    )


def _wants_members(asked: ResponseParameters[Any]) -> bool:
    """Whether an answer, its filter or its order looks at members."""
    looked_at = f"{getattr(asked, 'filter', '') or ''} {getattr(asked, 'sort_by', '') or ''}".lower()
    if "members" in looked_at:
        return True
    included = [str(one).lower() for one in asked.attributes or []]
    excluded = [str(one).lower() for one in asked.excluded_attributes or []]
    if included:
        return any("members" in one for one in included)
    return not any(one == "members" or one.endswith(":members") for one in excluded)
