"""Audit events for tests."""

import msgspec

from callgate import clock, ids
from callgate.model.event import Intent, Outcome


def intent(**changes: object) -> Intent:
    """A call that came in now."""
    made = Intent(
        id=ids.new_id("cal"), at=clock.now_us(), tenant="default", replica="r1", person="per_1", agent=None, client="c",
        token="tok_1", method="tools/call", upstream="ups_1", definition="def_1", fingerprint="f", decision="allow",
        rule=None, ruleset=1, era="modern", args_bytes=2, args_hash="",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def outcome(of: Intent, **changes: object) -> Outcome:
    """How that call ended, 7 µs later."""
    made = Outcome(id=of.id, at=of.at + 7, tenant=of.tenant, outcome="result", result_bytes=5, duration_us=7)
    return msgspec.structs.replace(made, **changes)
