"""People, agents and access tokens as the store keeps them (design §1). Sets are sorted tuples."""

import re

import msgspec

REVIEWING = frozenset({"reviewer", "admin"})  # roles whose approval counts
ADDRESS = r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,180}[A-Za-z0-9])?"  # of an e-mail
_ADDRESS = re.compile(ADDRESS)


def is_address(text: str) -> bool:
    """Whether a text is an e-mail address that a person can have."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None


class Person(msgspec.Struct, frozen=True):
    """Who is accountable for a call. `email` is lower-case and unique in the tenant. Times: seconds since 1970."""

    id: str  # `per_…`
    tenant: str
    email: str
    roles: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    active: bool = True
    created: float = 0.0
    revision: int = 0


class Agent(msgspec.Struct, frozen=True):
    """A named profile of what acts for a person. `upstreams` are globs over upstream names, None = all."""

    id: str  # `agt_…`
    tenant: str
    name: str
    upstreams: tuple[str, ...] | None = None
    revision: int = 0
    owner: str | None = None  # person row id: who answers for it
    active: bool = True  # False: stopped, its tokens are good for nothing


class Token(msgspec.Struct, frozen=True):
    """An access token; the clear text is never kept. Times: seconds since 1970.

    `last_used` is written now and then in bulk, never on the path of a call, so it may lag.
    """

    id: str  # `tok_…`
    tenant: str
    hash: bytes  # ids.token_hash of the clear text
    person: str  # row id
    agent: str | None = None  # agent name
    client: str | None = None
    created: float = 0.0
    expires: float | None = None
    revoked_at: float | None = None
    last_used: float | None = None
    revision: int = 0
    family: str | None = None  # authorization that it belongs to
    scope: tuple[str, ...] | None = None  # None = all
