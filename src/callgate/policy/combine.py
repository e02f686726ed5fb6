"""What rules that match say together. Pure.

Fail closed: an effect that nothing carries out never counts as one that allows (`carried_out`).
"""

from collections.abc import Iterable

from callgate.model.rule import EFFECTS, Decision, Rule


def carried_out(rule: Rule) -> bool:
    """Whether the rule's effect is one that this gateway can bring about."""
    return rule.effect in EFFECTS and (rule.effect != "redact" or rule.redact is not None)


def combined(matched: Iterable[Rule], version: int, default: str, results: tuple[Rule, ...] = ()) -> Decision:
    """The decision of rules that match: the strictest names it. One with a limit says nothing until the limit is
    reached (call/limiting), and `record` never says anything."""
    every = sorted(matched, key=lambda rule: (EFFECTS.index(rule.effect), rule.id))
    limits = tuple(rule for rule in every if rule.limit is not None)
    said = [rule for rule in every if rule.limit is None and rule.effect != "record"]
    if not said:
        return Decision(default, ruleset=version, limits=limits, results=results)
    named = said[0]
    return Decision(
        named.effect, named.id, named.title, named.message, version,
        redact=tuple(rule for rule in said if rule.effect == "redact"),
        approvals=tuple(rule for rule in said if rule.effect == "require_approval"),
        limits=limits,
        results=results,
    )  # fmt: skip
