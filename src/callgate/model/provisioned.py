"""What identity providers wrote over SCIM: of a person, of groups, of their members. Sets are sorted tuples."""

from typing import Any

import msgspec


class Provisioned(msgspec.Struct, frozen=True):
    """What was written of one person beside what a person is. Times: seconds since 1970.

    `teams` and `roles` are those of the person that groups gave; all others were given by hand and stay. `removed`: the
    identity provider deleted the user; the person stays, for the audit.
    """

    person: str  # row id
    user_name: str | None = None  # as it is compared
    external_id: str | None = None
    document: dict[str, Any] = msgspec.field(default_factory=dict)  # members of the user that are kept nowhere else
    teams: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    modified: float = 0.0
    edition: int = 0
    removed: bool = False


class Group(msgspec.Struct, frozen=True):
    """A group of people. `team` is what its members get; two groups of a tenant never share one."""

    id: str  # `grp_…`
    name: str
    team: str
    external_id: str | None = None
    created: float = 0.0
    modified: float = 0.0
    edition: int = 0


class Member(msgspec.Struct, frozen=True):
    """One person in one group. `display` is what the identity provider calls them there."""

    group: str  # row id
    person: str  # row id
    display: str | None = None
