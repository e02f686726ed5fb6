"""What makes a rule valid that looks into arguments or answers. Pure.

Fail closed: a combination that could not be carried out is refused at save, with what to write instead.
"""

import msgspec

from callgate.errors import Refused
from callgate.model.finding import SEVERITIES
from callgate.model.rule import PHASES, Rule
from callgate.policy.choices import wrong_contents
from callgate.policy.contents import looks_inside
from callgate.policy.phases import CALL, RESULT, phase, reads_result
from callgate.policy.schemas import validator

_MOST = 1000
_ON_RESULTS = ("deny", "redact", "wrap", "record")


def check(rule: Rule) -> None:
    """Raise `Refused("validation")` naming the member and what it may hold."""
    wrong = _wrong(rule)
    if wrong:
        raise Refused("validation", f"Rule `{rule.id}`: {wrong}")


def _wrong(rule: Rule) -> str:
    if rule.phase and rule.phase not in PHASES:
        return f"`phase` must be one of {', '.join(PHASES)}, or left out; not `{rule.phase[:20]}`."
    return _wrong_phase(rule) or _wrong_dlp(rule) or _wrong_hosts(rule) or _wrong_schema(rule) or _wrong_effect(rule)


def _wrong_phase(rule: Rule) -> str:
    found = phase(rule)
    if reads_result(rule) and found != RESULT:
        return "`when` reads `result`, so `phase` can be `result` alone."
    if rule.injection is not None and found != RESULT:
        return "`injection` looks at answers, so `phase` can be `result` alone."
    if rule.args_schema is not None and found != CALL:
        return "`args_schema` looks at arguments, so it goes with `phase: call` and no condition on answers."
    if found != CALL and rule.effect not in _ON_RESULTS:
        return f"what looks at answers can {', '.join(_ON_RESULTS)}; `{rule.effect}` needs `phase: call`."
    if found != CALL and rule.limit is not None:
        return "a `limit` counts calls before they are made, so it has no condition on answers."
    if rule.effect == "redact" and rule.phase and not looks_inside(rule) and not reads_result(rule):
        return "where a rule redacts is said by `redact.phase`."
    return ""


def _wrong_dlp(rule: Rule) -> str:
    spec = rule.dlp
    if spec is None:
        return ""
    odd = wrong_contents("dlp", spec.kinds, spec.detectors)
    if odd:
        return odd
    if spec.least < 1:
        return "`dlp.least` is at least 1."
    return "" if _texts(spec.allowed) else "`dlp.allowed` holds at most 1000 texts of 1 to 256 characters."


def _texts(values: tuple[str, ...]) -> bool:
    return len(values) <= _MOST and all(0 < len(value) <= 256 for value in values)


def _wrong_hosts(rule: Rule) -> str:
    if rule.egress is not None and not _texts(rule.egress.hosts):
        return "`egress.hosts` holds at most 1000 globs of 1 to 256 characters."
    if rule.injection is not None and rule.injection.severity not in SEVERITIES:
        return f"`injection.severity` must be one of {', '.join(SEVERITIES)}."
    return ""


def _wrong_schema(rule: Rule) -> str:
    if rule.args_schema is None:
        return ""
    try:
        validator(msgspec.json.encode(rule.args_schema, order="deterministic"))
    except Refused as refused:
        return f"`args_schema`: {refused.detail}"
    return ""


def _wrong_effect(rule: Rule) -> str:
    if rule.effect == "record" and not (looks_inside(rule) or rule.when):
        return "`effect: record` needs something to record: `dlp`, `egress`, `injection`, `args_schema` or `when`."
    return ""
