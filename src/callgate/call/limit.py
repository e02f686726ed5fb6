"""limit: what a call takes of the limits that count it, and what it turned out to cost. Pure.

Fail closed: a call goes on only after everything was taken; a cost that the result does not say is the usual one.
"""

import json
import math

from callgate.call.model import Request, Target
from callgate.call.record import Mac
from callgate.errors import Refused
from callgate.model.limit import MILLION, Take, millionths
from callgate.model.rule import Limit, Rule
from callgate.wire import jsonrpc

_MOST = MILLION * 1000  # what costs more counts as so much


def takes(rules: tuple[Rule, ...], request: Request, target: Target, mac: Mac) -> tuple[Take, ...]:
    """What these rules count this call for."""
    return tuple(_take(rule, rule.limit, request, target, mac) for rule in rules if rule.limit is not None)


def _take(rule: Rule, limit: Limit, request: Request, target: Target, mac: Mac) -> Take:
    caller = request.caller
    values = {
        "person": caller.person,
        "agent": caller.agent or "",
        "client": caller.client or "",
        "tool": target.definition.id if target.definition is not None else request.method,
        "upstream": target.upstream.id,
    }
    counted = jsonrpc.encoded([rule.id, limit.kind, *(f"{name}={values[name]}" for name in sorted(limit.per))])
    amount = 0 if limit.field else millionths(limit.cost if limit.kind == "cost" else 1)
    return Take(
        rule=rule.id,
        key=mac(caller.tenant, b"limit\0" + counted).hex(),
        kind=limit.kind,
        most=millionths(limit.most),
        amount=amount,
        window_s=limit.window_s,
    )


def by_result(rules: tuple[Rule, ...]) -> bool:
    """Whether any of them has to see the result to know what the call cost."""
    return any(rule.limit is not None and rule.limit.field for rule in rules)


def cost(rule: Rule, result: bytes) -> int:
    """What a call cost, in millionths: the number at the rule's field, or its usual cost; never below 0."""
    limit = rule.limit
    if limit is None or limit.kind != "cost":
        return 0
    found = _number(result, limit.field) if limit.field else None
    return max(0, millionths(limit.cost if found is None else found))


def _number(raw: bytes, field: str) -> float | None:
    try:
        value = json.loads(raw)
        for name in field.split("."):
            value = value[int(name)] if isinstance(value, list) else value[name]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        return None
    return float(max(-_MOST, min(value, _MOST)))


def reached(rule: Rule, retry_s: float) -> Refused:
    """What the agent is told."""
    limit = rule.limit
    seconds = max(1, math.ceil(retry_s))
    if limit is not None and limit.kind == "concurrency":
        what = f"allows {limit.most:g} of these calls at once; wait until one has ended."
    elif limit is not None:
        unit = "calls" if limit.kind == "rate" else "of costs"
        what = f"allows {limit.most:g} {unit} in {limit.window_s:g} s; try again in {seconds} s."
    else:
        what = "allows no more of these calls now."
    data: dict[str, object] = {"rule": rule.id, "title": rule.title, "retry_after_s": seconds}
    return Refused("limit_reached", rule.message or f"The rule “{rule.title}” {what}", data)
