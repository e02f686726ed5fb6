"""Carrying out the rules that redact: on arguments before they are sent, on answers before anybody sees them. Pure.

Every matching rule applies, one after the other; what one put in place, the next one leaves. Fail closed: a value that
cannot be read to its end raises `CannotRedact`, and then nothing of it goes on.
"""

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from callgate.dlp.engine import TooMany
from callgate.dlp.paths import compiled
from callgate.dlp.redact import Mac, Redaction
from callgate.dlp.walk import TooDeep, redacted_json
from callgate.errors import Refused
from callgate.model.rule import Redact, Rule


class CannotRedact(Exception):
    """A value could not be searched to its end."""


def concerns(rules: Iterable[Rule], phase: str) -> tuple[Rule, ...]:
    """Those of the rules that redact in this phase (`call` or `result`)."""
    return tuple(rule for rule in rules if rule.redact is not None and rule.redact.phase in (phase, "both"))


def redacted(rules: Iterable[Rule], raw: bytes, mac: Mac) -> bytes:
    """Raw JSON with everything replaced that these rules name. Raises `CannotRedact`."""
    for rule in rules:
        if rule.redact is None:
            raise CannotRedact
        how = msgspec.structs.replace(_redaction(rule.redact), mac=mac)
        try:
            raw, _ = redacted_json(raw, how)
        except (TooMany, TooDeep, ValueError, RecursionError, Refused):
            raise CannotRedact from None
    return raw


def is_path(member: str) -> bool:
    """Whether a member of a rule is a path and not a name."""
    return member.startswith("$")


@lru_cache(maxsize=1024)
def _redaction(spec: Redact) -> Redaction:
    return Redaction(
        spec.action, frozenset(spec.detectors), frozenset(spec.kinds),
        frozenset(one.lower() for one in spec.members if not is_path(one)), frozenset(map(str.lower, spec.allowed)),
        tuple(compiled(one) for one in spec.members if is_path(one)),
    )  # fmt: skip
