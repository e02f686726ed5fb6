"""Reviews for tests that are about something else: the operator's, and discovery without a scanner."""

from collections.abc import Mapping

from callgate.model.caller import Actor
from callgate.model.definition import Definition, Observed
from callgate.model.finding import Finding
from callgate.model.upstream import Upstream
from callgate.store.reviews import Reviewer

OPERATOR = Reviewer(Actor("default", "operator", "operator:0", ()))


class NoScanner:
    """Sees nothing, and says so by having no version: findings stay out of the test."""

    version = ""

    async def scan(
        self,
        tenant: str,
        upstream: Upstream,
        items: tuple[Observed, ...],
        known: Mapping[tuple[str, str], Definition],
    ) -> Mapping[tuple[str, str], tuple[Finding, ...]]:
        return {}
