"""The person behind calls without a token, in the mode that an operator asks for by name, on loopback alone.

Found once and kept until people change. Fail closed: an address that nobody has, or somebody who was deactivated, is
refused like a bad token.
"""

from collections.abc import Callable

from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.model.caller import DEFAULT_TENANT, Caller
from callgate.store import people
from callgate.store.engine import Database

TOKEN = "anonymous"  # noqa: S105  what the audit shows in the place of a token's id


class Anonymous:
    """Gives every request without a token the same caller."""

    def __init__(self, db: Database, fleet: Fleet, email: str) -> None:
        self._db = db
        self._email = email
        self._fleet = fleet
        self._known: Caller | None = None
        self._changes = 0
        self._stop: Callable[[], None] = fleet.subscribe(self._on_change)

    async def __call__(self) -> Caller:
        """The caller. Raises `Refused`: person_inactive, auth_required (nobody has the address), store_unavailable."""
        self._fleet.view(DEFAULT_TENANT)  # refuses when what is known is too old
        known = self._known
        if known is None:
            changes = self._changes
            known = await self._find()
            if changes == self._changes:  # else what was read may be old already
                self._known = known
        return known

    async def _find(self) -> Caller:
        async with self._db.unit(DEFAULT_TENANT, write=False) as unit:
            person = await people.by_email(unit, self._email)
        if person is None:
            raise Refused("auth_required", "Nobody has the address in CALLGATE_ANONYMOUS_PERSON; add the person first.")
        if not person.active:
            raise Refused("person_inactive")
        return Caller(
            DEFAULT_TENANT, person.id, person.email, person.roles, person.teams, agent=None, client=None, token=TOKEN
        )

    def _on_change(self, tenant: str, aggregates: frozenset[str]) -> None:
        if tenant == DEFAULT_TENANT and "identity" in aggregates:
            self._known = None
            self._changes += 1

    def close(self) -> None:
        """Stop following changes."""
        self._stop()
