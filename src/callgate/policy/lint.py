"""What is odd about a set of rules: rules that can never decide, contradict each other, or name nothing that exists.

Pure. It looks at what rules say, not at calls, so it is sure of what it names and silent about what it cannot tell: of
two globs one covers the other only where that is plain to see.
"""

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

import msgspec

from callgate.errors import Refused
from callgate.model.caller import ROLES
from callgate.model.rule import EFFECTS, Match, Rule
from callgate.policy.compile import matches_tool, matches_upstream
from callgate.policy.details import NAMES
from callgate.policy.expr import condition
from callgate.policy.globs import pattern
from callgate.policy.model import LISTS

_RANK = {effect: rank for rank, effect in enumerate(EFFECTS)}


class Reach(msgspec.Struct, frozen=True):
    """A tool that may change something, at an upstream that one shared account acts for everybody."""

    upstream: str
    tool: str


class Inventory(msgspec.Struct, frozen=True):
    """What exists. `tools`: (upstream, the upstream's own name, public name, names of required arguments)."""

    upstreams: frozenset[str] = frozenset()
    tools: tuple[tuple[str, str, str, frozenset[str]], ...] = ()
    people: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    shared: tuple[Reach, ...] = ()


class Oddity(msgspec.Struct, frozen=True):
    """One thing about one rule. `kind`: `matches_nothing`, `swallowed`, `shadowed`, `redundant`, `contradictory`,
    `may_fail` or `unreadable`; `other` is the rule that it is about, too. `shared_account` is about no rule but an
    upstream, whose name then stands in the place of the rule's id."""

    rule: str
    kind: str
    sentence: str
    other: str | None = None


def lint(rules: Iterable[Rule], there: Inventory) -> tuple[Oddity, ...]:
    """All oddities, by rule and kind."""
    known = tuple(sorted(rules, key=lambda rule: rule.id))
    found: list[Oddity] = []
    for rule in known:
        found += _nothing(rule, there)
        found += _swallowed(rule)
        found += _fails(rule, there)
        for other in known:
            found += _beside(rule, other)
    found += _shared(there)
    return tuple(sorted(found, key=lambda one: (one.rule, one.kind, one.other or "", one.sentence)))


def _shared(there: Inventory) -> Iterator[Oddity]:
    """Upstreams where nobody can tell afterwards who changed something."""
    for upstream in sorted({one.upstream for one in there.shared}):
        tools = [one.tool for one in there.shared if one.upstream == upstream]
        shown = ", ".join(sorted(tools)[:3]) + (f" and {len(tools) - 3} more" if len(tools) > 3 else "")
        yield Oddity(
            upstream,
            "shared_account",
            f"{upstream} acts with one shared account for everybody, also in tools that may change something "
            f"({shown}). Set its auth to on_behalf_of, or `writes` to on_behalf_of for these.",
        )


# -- a rule by itself --------------------------------------------------------------------------------------------------


def _nothing(rule: Rule, there: Inventory) -> Iterator[Oddity]:
    match = rule.match
    exist = {"person": there.people, "team": there.teams, "agent": there.agents, "role": frozenset(ROLES)}
    exist["label"] = there.labels
    for name, values in exist.items():
        globs = getattr(match, name)
        if globs and not any(
            pattern(glob.lower() if name == "person" else glob)(value) for glob in globs for value in values
        ):
            yield Oddity(rule.id, "matches_nothing", f"No {name} is named {_either(globs)}.")
    if match.upstream and not any(matches_upstream(match, name) for name in there.upstreams):
        yield Oddity(rule.id, "matches_nothing", f"No upstream is named {_either(match.upstream)}.")
    elif match.tool and not any(_names(match, tool) for tool in there.tools):
        yield Oddity(rule.id, "matches_nothing", f"No tool of these upstreams is named {_either(match.tool)}.")


def _names(match: Match, tool: tuple[str, str, str, frozenset[str]]) -> bool:
    upstream, own, public, _ = tool
    return matches_upstream(match, upstream) and matches_tool(match, own, public)


def _either(globs: tuple[str, ...]) -> str:
    return " or ".join(f"`{glob}`" for glob in globs[:5]) + (" …" if len(globs) > 5 else "")


def _swallowed(rule: Rule) -> Iterator[Oddity]:
    if rule.match.unless is not None and _covers(rule.match.unless, rule.match):
        yield Oddity(rule.id, "swallowed", "The exception holds whenever the rule matches, so it never applies.")


def _fails(rule: Rule, there: Inventory) -> Iterator[Oddity]:
    if not rule.when:
        return
    try:
        read = condition(rule.when).members
    except Refused as refused:
        yield Oddity(rule.id, "unreadable", f"Its condition cannot be read, so it refuses every call: {refused.detail}")
        return
    for name in sorted(read - {"*"}):
        asked = re.search(rf"has\(\s*args\.{re.escape(name)}\b|['\"]{re.escape(name)}['\"]\s+in\s+args", rule.when)
        tools = [tool for tool in there.tools if _names(rule.match, tool) and name not in tool[3]]
        if asked is None and tools:
            yield Oddity(
                rule.id, "may_fail",
                f"`args.{name}` may be missing, and then the call is refused (for one of `{tools[0][2]}`): "
                f"ask `has(args.{name}) && …` first.",
            )  # fmt: skip


# -- two rules ---------------------------------------------------------------------------------------------------------


def _beside(rule: Rule, other: Rule) -> Iterator[Oddity]:
    """What another rule makes of this one."""
    if rule.id == other.id or other.match.unless is not None or other.limit is not None or rule.mode != other.mode:
        return
    same_match = rule.match == other.match and rule.when == other.when
    if same_match and rule.effect != other.effect and "redact" not in (rule.effect, other.effect):
        yield Oddity(rule.id, "contradictory", f"`{other.id}` says {other.effect} of the same calls.", other.id)
        return
    if not _covers(other.match, rule.match) or other.when not in ("", rule.when):
        return
    if other.effect == "deny" and rule.effect != "deny":
        yield Oddity(rule.id, "shadowed", f"`{other.id}` denies all that it matches.", other.id)
    elif other.effect == rule.effect and rule.redact == other.redact and (not same_match or other.id < rule.id):
        yield Oddity(rule.id, "redundant", f"`{other.id}` already says the same of all that it matches.", other.id)


def _covers(wide: Match, narrow: Match) -> bool:
    """Whether it is plain that all that `narrow` matches is matched by the lists of `wide`, too."""
    if any(getattr(wide, name) not in ((), None, getattr(narrow, name)) for name in NAMES):
        return False
    return all(_list_covers(getattr(wide, name), getattr(narrow, name)) for name in LISTS)


def _list_covers(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    if not wide:
        return True
    return bool(narrow) and all(any(_glob_covers(one, glob) for one in wide) for glob in narrow)


def _glob_covers(wide: str, narrow: str) -> bool:
    """Equal, or `wide` matches the text of `narrow` with its wildcards standing for themselves."""
    if wide == narrow or set(wide) == {"*"}:
        return True
    if "[" in wide or "[" in narrow or "?" in wide:
        return False
    return fnmatchcase(narrow.replace("?", "x"), wide)
