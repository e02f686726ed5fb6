"""The `tools` section of a governance document: reviews written down in advance.

With a hash, exactly that content is trusted. Without one, only tools that nobody has reviewed and that have no high
finding; a drifted or blocked tool needs its hash. Of several entries that match a tool the last one counts.
Fail closed: what can not be trusted now is named in `missing`, and why.
"""

from fnmatch import fnmatchcase

from callgate.control.documents import Document, ToolSpec
from callgate.control.outcome import Outcome
from callgate.control.views import clean
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.definition import BLOCKED, PENDING_REVIEW, REMOVED, TRUSTED, Definition
from callgate.model.finding import rank
from callgate.model.upstream import Upstream
from callgate.store import definitions, reviews, states, upstreams
from callgate.store.reviews import Reviewer
from callgate.store.unit import Unit

_SETTLED = "ok"


async def review(actor: Actor, document: Document, unit: Unit, outcome: Outcome) -> None:
    """Apply every entry. Raises `Refused("validation")` for an upstream that does not exist."""
    by_upstream: dict[str, list[ToolSpec]] = {}
    for spec in document.tools or ():
        by_upstream.setdefault(spec.upstream, []).append(spec)
    for name, specs in by_upstream.items():
        upstream = await upstreams.by_name(unit, name)
        if upstream is None:
            raise Refused("validation", f"tools: there is no upstream `{name}`; add it to the upstreams of the file.")
        await _upstream(actor, unit, upstream, specs, outcome)


async def _upstream(actor: Actor, unit: Unit, upstream: Upstream, specs: list[ToolSpec], outcome: Outcome) -> None:
    known = await definitions.of_upstream(unit, upstream.id)
    tools = [one for one in known if one.kind == "tool" and one.status != REMOVED]
    unmatched = list(specs)
    for tool in tools:
        matching = [spec for spec in specs if fnmatchcase(tool.name, spec.tool)]
        unmatched = [spec for spec in unmatched if spec not in matching]
        if matching:
            await _tool(actor, unit, tool, matching[-1], outcome)
    state = await states.get(unit, upstream.id)
    settled = state is not None and state.state == _SETTLED
    for spec in unmatched:
        if state is not None and state.state == "broken":
            reason = f"the upstream is broken: {clean(state.reason)}"
        else:
            reason = "the upstream has no such tool" if settled else "the upstream was not looked at yet"
        outcome.lacks("tool", f"{upstream.name}: {spec.tool}", reason, final=settled)


async def _tool(actor: Actor, unit: Unit, tool: Definition, spec: ToolSpec, outcome: Outcome) -> None:
    if spec.status == BLOCKED:
        if tool.status != BLOCKED:
            await reviews.block(unit, Reviewer(actor), tool.id)
            await record(unit, actor, "tools.block", tool.id, tool.status, BLOCKED)
            outcome.add("block", "tool", tool.public_name)
        return
    if tool.callable and spec.full in (None, tool.full):
        return
    why_not = _obstacle(tool, spec)
    if why_not:
        outcome.lacks("tool", tool.public_name, why_not, final=True)
        return
    try:
        after = await reviews.approve(unit, Reviewer(actor), tool.id, tool.full)
    except Refused as refused:
        if refused.code != "two_person_review":
            raise
        outcome.lacks("tool", tool.public_name, refused.sentence, final=True)
        return
    await record(unit, actor, "tools.approve", tool.id, tool.approved_full or tool.status, tool.full)
    if after.callable:
        outcome.add("trust", "tool", tool.public_name, tool.full)
    else:
        outcome.lacks("tool", tool.public_name, "a second reviewer has to approve it", final=True)


def _obstacle(tool: Definition, spec: ToolSpec) -> str:
    """Why an entry does not make a tool trusted; empty when it does."""
    if tool.quarantined:
        return f"it can never be trusted: {tool.quarantined}"
    if not tool.listed:
        return "the server no longer offers it"
    if spec.full is not None:
        return "" if spec.full == tool.full else f"its hash is {tool.full} now; look at the diff first"
    if tool.status == PENDING_REVIEW and rank(tool.worst) < rank(reviews.BULK_BELOW):
        return ""
    if tool.status == PENDING_REVIEW:
        return f"it has a {tool.worst} finding; name the hash that you looked at: full: {tool.full}"
    state = "is blocked" if tool.status == BLOCKED else "has drifted"
    return f"it {state}; name the hash that you looked at: full: {tool.full}" if tool.status != TRUSTED else ""
