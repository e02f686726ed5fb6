"""Who acts: the caller of one request, and the operator of a gateway."""

import msgspec

ROLES = ("member", "reviewer", "admin", "auditor")
DEFAULT_TENANT = "default"
SCIM_CLIENT = "scim"  # tokens issued for this client are good for provisioning and for nothing else


class Caller(msgspec.Struct, frozen=True):
    """A person via an agent via a client, as an access token says. Ids are row ids; sets are sorted tuples."""

    tenant: str
    person: str  # row id `per_…`
    email: str
    roles: tuple[str, ...]
    teams: tuple[str, ...]
    agent: str | None  # agent name
    client: str | None  # client name the token was issued for
    token: str  # row id `tok_…`
    expires_at: float | None = None  # seconds since 1970, None = does not expire
    allowed_upstreams: tuple[str, ...] | None = None  # globs of the agent profile; None = all
    scope: tuple[str, ...] | None = None  # what the token is good for; None = all

    @property
    def key(self) -> tuple[str, str]:
        """What limits and pools count this caller by."""
        return (self.tenant, self.person)


class Actor(msgspec.Struct, frozen=True):
    """Who changes something through the control API.

    `kind` is `operator` (local socket; `id` is `operator:<uid>`, never counts as a reviewer where two are needed)
    or `person` (`id` is the person's row id).
    """

    tenant: str
    kind: str
    id: str
    roles: tuple[str, ...]
