"""Where the protocol reads and writes: one transaction of one tenant for each request.

Whoever writes waits for the tenant's revision first, so that what was read stays true until the commit; two requests
never create one user name. Fail closed: any refusal undoes the whole request.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from scim2_models import (
    NotFoundException,
    Path,
    PreconditionFailedException,
    Resource,
    ResourceType,
    ResponseParameters,
    SearchRequest,
)
from scim2_server.service import ScimService
from scim2_server.storage import AsyncScimStorage, SearchPage

from callgate.errors import Refused
from callgate.model.caller import Actor
from callgate.scim import search as searching
from callgate.scim.endpoint import ScimContext
from callgate.scim.groups import GroupShelf
from callgate.scim.shelf import Shelf
from callgate.scim.users import UserShelf
from callgate.store.people import AGGREGATE
from callgate.store.unit import Unit

_NO_MEMBERS = ResponseParameters[Any](excluded_attributes=[Path[Any]("members")])  # a version needs none


class Storage(AsyncScimStorage):
    """The resources of the actor's tenant, for one request."""

    def __init__(
        self, context: ScimContext, service: ScimService, actor: Actor | None, *, writes: bool, brief: bool
    ) -> None:  # fmt: skip
        self._context = context
        self._service = service
        self._actor = actor
        self._writes = writes
        self._brief = brief  # members of what was changed are not shown
        self._unit: Unit | None = None

    @asynccontextmanager
    async def operation(self) -> AsyncIterator[None]:
        """One transaction; when it has changed something, this replica acts on it before the answer."""
        tenant = self._who.tenant
        async with self._context.db.unit(tenant, write=self._writes) as unit:
            if self._writes:
                await unit.bump(AGGREGATE)
            self._unit = unit
            yield
        if self._writes:
            await self._context.seen(tenant)

    async def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Resource[Any]:
        """A resource. Raises `NotFoundException`, for ids of other tenants too."""
        found = await self._shelf(resource_type, response_parameters).get(resource_id)
        if found is None:
            raise NotFoundException(detail=f"There is no such {resource_type.name}.")
        return found

    async def search(
        self, resource_types: list[ResourceType], search_request: SearchRequest[Any], *, position: Any = None
    ) -> SearchPage:
        """One page, by index."""
        return await searching.search([self._shelf(one, search_request) for one in resource_types], search_request)

    async def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        """Add a resource."""
        shelf = self._shelf(resource_type)
        return await self.get(resource_type, await shelf.create(self._who, resource))

    async def update(
        self, resource_type: ResourceType, resource: Resource[Any], *, expected_version: str | None = None
    ) -> Resource[Any]:
        """Write a resource anew."""
        await self._still(resource_type, str(resource.id), expected_version)
        await self._shelf(resource_type).update(self._who, resource)
        shown = _NO_MEMBERS if self._brief else None
        return await self.get(resource_type, str(resource.id), response_parameters=shown)

    async def delete(
        self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None
    ) -> None:  # fmt: skip
        """Delete a resource."""
        await self._still(resource_type, resource_id, expected_version)
        await self._shelf(resource_type).delete(self._who, resource_id)

    async def _still(self, resource_type: ResourceType, resource_id: str, version: str | None) -> None:
        current = await self.get(resource_type, resource_id, response_parameters=_NO_MEMBERS)
        if version is not None and (current.meta is None or current.meta.version != version):
            raise PreconditionFailedException

    @property
    def _who(self) -> Actor:
        if self._actor is None:
            raise Refused("auth_required")
        return self._actor

    def _shelf(self, resource_type: ResourceType, asked: ResponseParameters[Any] | None = None) -> Shelf:
        if self._unit is None:
            raise LookupError("this needs an open operation")
        model = self._service.get_model(resource_type)
        if resource_type.name == "User":
            return UserShelf(self._unit, model, self._context.off_board)
        return GroupShelf(self._unit, model, asked)
