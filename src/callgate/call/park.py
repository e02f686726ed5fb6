"""park: where a call waits for a reviewer.

Approvals come with a later issue; until then nothing can grant one. Fail closed: a decision that asks for an approval
is refused with `approval_pending`, and no rule with that effect can be saved yet.
"""

from callgate.errors import Refused
from callgate.model.rule import Decision


def park(decision: Decision) -> None:
    """Pass a decision that needs nobody; refuse one that does."""
    if decision.effect == "require_approval":
        raise Refused("approval_pending", data={"rule": decision.rule, "title": decision.title})
