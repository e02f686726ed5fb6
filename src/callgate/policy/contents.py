"""Conditions on what arguments and answers hold: secrets and personal data, hosts, a schema, injected instructions.

Pure. What they find is told as classes and counts, never as values. Fail closed: what cannot be read to its end, or
holds a member twice (each reader may take another of the two), raises `NoAnswer`.
"""

from collections import Counter
from functools import lru_cache

import msgspec

from callgate.dlp.engine import TooMany
from callgate.dlp.redact import Redaction, counted
from callgate.dlp.walk import TooDeep, redacted_json
from callgate.errors import Refused
from callgate.model.finding import rank
from callgate.model.rule import Contents, Egress, Rule
from callgate.policy.expr import NoAnswer
from callgate.policy.facts import decoded
from callgate.policy.globs import pattern
from callgate.policy.hosts import hosts
from callgate.policy.schemas import valid
from callgate.scanner.engine import scan_text

MOST_TEXTS = 2000  # of one answer that are scanned for instructions
Counts = Counter[str]


def looks_inside(rule: Rule) -> bool:
    """Whether a rule has such a condition."""
    return any(one is not None for one in (rule.dlp, rule.egress, rule.injection, rule.args_schema))


def hold(rule: Rule, raw: bytes, seen: Counts, *, result: bool) -> bool:
    """Whether all such conditions of a rule hold of raw JSON: of arguments, or of an answer (`result`).

    What was found is added to `seen`, also where it was too little. Raises `NoAnswer`.
    """
    try:
        return _hold(rule, raw, seen, result=result)
    except (TooMany, TooDeep, RecursionError, ValueError, Refused):
        raise NoAnswer("It cannot be searched to its end, or holds the same member twice.") from None


def _hold(rule: Rule, raw: bytes, seen: Counts, *, result: bool) -> bool:
    value = decoded(raw)
    answers: list[bool] = []
    if rule.dlp is not None:
        found = counted(redacted_json(raw, _wanted(rule.dlp))[1])
        _add(seen, found)
        answers.append(sum(found.values()) >= rule.dlp.least)
    if rule.egress is not None:
        outside = _outside(rule.egress, value)
        _add(seen, {"host": outside} if outside else {})
        answers.append(outside > 0)
    if rule.args_schema is not None and not result:
        answers.append(not valid(_schema(rule), value))
    if rule.injection is not None and result:
        orders = _orders(value, rule.injection.severity)
        _add(seen, orders)
        answers.append(bool(orders))
    return all(answers)


def _add(seen: Counts, found: dict[str, int]) -> None:
    """Several rules that look for the same see it once each: the largest number is told."""
    for name, number in found.items():
        seen[name] = max(seen[name], number)


def told(seen: Counts) -> str:
    """Classes and counts as the audit has them."""
    return " ".join(f"{name}={number}" for name, number in sorted(seen.items()) if number)[:1000]


@lru_cache(maxsize=1024)
def _wanted(spec: Contents) -> Redaction:
    return Redaction(
        detectors=frozenset(spec.detectors), kinds=frozenset(spec.kinds),
        allowed=frozenset(map(str.lower, spec.allowed)),
    )  # fmt: skip


def _outside(spec: Egress, value: object) -> int:
    allowed = tuple(pattern(glob.lower()) for glob in spec.hosts)
    return sum(not any(one(host) for one in allowed) for host in hosts(value))


def _schema(rule: Rule) -> bytes:
    return msgspec.json.encode(rule.args_schema, order="deterministic")


def _orders(value: object, severity: str) -> dict[str, int]:
    """Classes of what the scanner finds in the texts of an answer, of this severity or worse."""
    found: dict[str, int] = {}
    for text in _texts(value, MOST_TEXTS):
        for one in scan_text(text):
            if rank(one.severity) >= rank(severity):
                found[one.cls] = found.get(one.cls, 0) + 1
    return found


def _texts(value: object, most: int) -> list[str]:
    """The strings of a value, each once; more than `most` is more than can be looked at."""
    found: dict[str, None] = {}
    waiting: list[object] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str) and " " in one:
            found[one] = None
            if len(found) > most:
                raise TooMany
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
    return list(found)
