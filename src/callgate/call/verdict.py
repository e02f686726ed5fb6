"""verdict: the rules on the answer.

Fail closed: a rule that has no answer withholds what the upstream said; the agent learns that it ran.
"""

from collections.abc import Iterable

from callgate.call.decide import facts_of
from callgate.call.model import Request, Target
from callgate.call.record import Mac
from callgate.errors import Refused
from callgate.model.rule import Rule
from callgate.policy.phases import reads_result
from callgate.policy.results import Verdict, judge


def verdict(rules: Iterable[Rule], request: Request, target: Target, raw: bytes, mac: Mac) -> Verdict:
    """The verdict on a result."""
    tenant = request.caller.tenant
    mark = f"untrusted {mac(tenant, request.id.encode()).hex()[:12]}"  # nobody upstream can know it
    return judge(rules, request.caller, facts_of(request, target), raw, lambda data: mac(tenant, data), mark)


def of_error(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules that look at errors, too: those whose condition does not read a result."""
    return tuple(rule for rule in rules if not reads_result(rule))


def withheld(found: Verdict) -> Refused:
    """What the agent is told of an answer that it does not get."""
    rule = found.rule
    if rule is None:
        return Refused("result_withheld")
    data: dict[str, object] = {"rule": rule.id, "title": rule.title}
    if found.why:
        about = f"The server answered, but the rule “{rule.title}” could not be evaluated on it. {found.why}"
        return Refused("rule_failed", about, data)
    about = f"The server did what was asked, but the rule “{rule.title}” withholds its answer. Do not repeat the call."
    return Refused("result_withheld", rule.message or about, data)
