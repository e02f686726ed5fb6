"""What the storage needs of one type of resource, and what users and groups have in common."""

import hashlib
from typing import Any, Protocol

from scim2_models import Resource

from callgate import clock
from callgate.errors import Refused
from callgate.store import rows

MAX_TEXT = 256
Found = list[Resource[Any]]


class Shelf(Protocol):
    """All resources of one type in the open transaction."""

    async def get(self, resource_id: str) -> Resource[Any] | None:
        """One resource, None when the tenant has none of this id."""

    async def among(self, resource_ids: list[str]) -> Found:
        """Those of these ids that exist, in no order."""

    async def count(self) -> int: ...

    async def page(self, offset: int, limit: int) -> Found:
        """In the order of their ids."""

    async def after(self, resource_id: str, limit: int) -> Found:
        """In the order of their ids, those after one; "" is before all."""

    async def exactly(self, attribute: str, value: str) -> Found | None:
        """All whose attribute (lower case) has a value, and maybe others; None where nothing finds them fast."""

    async def create(self, actor: Any, resource: Resource[Any]) -> str:
        """Add a resource; its id."""

    async def update(self, actor: Any, resource: Resource[Any]) -> None: ...

    async def delete(self, actor: Any, resource_id: str) -> None: ...


def meta(kind: str, created: float, modified: float, version: object) -> dict[str, object]:
    """`meta` (RFC 7643, section 3.1). The version is a digest of what the resource is made of."""
    digest = hashlib.sha256(rows.to_json(version).encode()).hexdigest()[:32]
    return {
        "resourceType": kind,
        "created": clock.utc(created).isoformat(),
        "lastModified": clock.utc(max(created, modified)).isoformat(),
        "version": f'W/"{digest}"',
    }


def storable(text: str) -> bool:
    """Whether a store can look for a text: PostgreSQL takes neither NUL nor halves of surrogate pairs."""
    return "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def plain(value: object, name: str) -> str:
    """A text that is shown and looked up. Raises `Refused("validation")` for an empty, long or unprintable one."""
    if not isinstance(value, str) or not value.strip():
        raise Refused("validation", f"`{name}` must be a text that is not empty.")
    if len(value) > MAX_TEXT or not value.isprintable():
        raise Refused("validation", f"`{name}` must have at most {MAX_TEXT} characters, none of them a control.")
    return value.strip()
