"""decide: the rules on who, what and where.

Fail closed: `policy.evaluate` turns an error into a deny; a deny becomes a refusal that names the rule's title.
"""

from callgate.call.model import Request, Target
from callgate.errors import Refused
from callgate.model.rule import Decision
from callgate.policy.compile import CompiledRules
from callgate.policy.evaluate import decide as evaluate
from callgate.policy.facts import Facts


def decide(rules: CompiledRules, request: Request, target: Target) -> Decision:
    """The decision on one request. Prompts and resources are judged by the rules that name no tool."""
    definition = target.definition
    is_tool = definition is not None and definition.kind == "tool"
    name = definition.name if definition is not None and is_tool else ""
    public = definition.public_name if definition is not None and is_tool else ""
    facts = facts_of(request, target) if rules.conditional else None
    return evaluate(rules, request.caller, target.upstream.name, name, public, facts)


def facts_of(request: Request, target: Target) -> Facts:
    """What conditions may know of a request."""
    given = request.params.get("arguments") or b"{}"
    return Facts(target.upstream, target.definition, request.method, request.at, given, request.address)


def refuse_denied(decision: Decision) -> None:
    """Raise `Refused`: denied_by_rule, rule_failed for a deny."""
    if decision.effect != "deny":
        return
    if decision.failed:
        raise Refused("rule_failed", decision.message, {"rule": decision.rule, "title": decision.title})
    if decision.rule is None:
        raise Refused("denied_by_rule", "No rule allows this call, and what no rule allows is denied here.")
    about = f"The rule “{decision.title or decision.rule}” does not allow this call."
    raise Refused("denied_by_rule", decision.message or about, {"rule": decision.rule, "title": decision.title})
