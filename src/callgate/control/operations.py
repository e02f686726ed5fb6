"""What a route of the control API is: its summary, what it takes, what it gives, which errors it may answer with.

Resource modules list `Operation`s; `api` serves them and `openapi` describes them, so that the two cannot differ.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import fields
from starlette.requests import Request

from callgate.control.fields import After, Limit
from callgate.control.services import Services
from callgate.model.caller import Actor

QueryT = TypeVar("QueryT")
BodyT = TypeVar("BodyT")
ItemT = TypeVar("ItemT")


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A query without parameters."""


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A keyset page: what comes after the key `after`, at most `limit` items."""

    after: After | None = None
    limit: Limit = 100


class Page(msgspec.Struct, Generic[ItemT], frozen=True):
    """One page. `next` goes into `after` for the next one; null on the last page."""

    items: list[ItemT]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Asked(Generic[QueryT, BodyT]):
    """One request that passed identity, permission and validation."""

    services: Services
    actor: Actor
    path: Mapping[str, str]
    query: QueryT
    body: BodyT
    request: Request

    @property
    def tenant(self) -> str:
        return self.actor.tenant


@dataclass(frozen=True, slots=True)
class Operation:
    """One route. `returns` is the msgspec type of the answer; None for an answer of another media type."""

    method: str
    path: str
    summary: str
    handler: Callable[[Asked[Any, Any]], Awaitable[object]]
    returns: Any
    query: type[msgspec.Struct] = Nothing
    body: type[msgspec.Struct] | None = None
    status: int = 200
    media_type: str = "application/json"
    errors: tuple[str, ...] = field(default=())

    @property
    def resource(self) -> str:
        return "/" + self.path.split("/")[1]

    @property
    def body_optional(self) -> bool:
        """Whether nothing of the body has to be given; then the body itself may be left out."""
        return self.body is not None and not any(one.required for one in fields(self.body))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path parameters, in order."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


def page_of(items: list[ItemT], limit: int, key: Callable[[ItemT], str]) -> Page[ItemT]:
    """A page out of up to `limit` + 1 items: the extra one only says that there are more."""
    more = len(items) > limit
    shown = items[:limit]
    return Page(shown, key(shown[-1]) if more and shown else None)
