"""Rules and decisions (design §1 and §5). Only allow and deny exist yet; the shape is final."""

import msgspec

EFFECTS = ("deny", "require_approval", "redact", "allow")  # strictest first
EFFECTS_NOW = ("deny", "redact", "allow")
PHASES = ("call", "result", "both")


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule applies to. Every list is a set of globs (`*`, `?`); an empty list matches all.

    `tool` matches the upstream's own tool name or the public name. `unless` excludes what it matches.
    """

    upstream: tuple[str, ...] = ()
    tool: tuple[str, ...] = ()
    person: tuple[str, ...] = ()  # e-mail
    role: tuple[str, ...] = ()
    team: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    client: tuple[str, ...] = ()
    unless: "Match | None" = None


class Redact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule with the effect `redact` replaces, in arguments (`call`), in the answer (`result`) or in both.

    `detectors` and `kinds` (`secret`, `personal`) are those of the package `dlp`, `members` names of JSON members; all
    empty means whatever `dlp` finds. `allowed`: values, or `@domain`, that stay.
    """

    phase: str = "both"
    detectors: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    action: str = "mask"
    allowed: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule as written."""

    id: str
    title: str
    effect: str
    match: Match = Match()
    message: str = ""  # what the agent is told in place of the standard sentence
    when: str = ""  # a condition in CEL (policy/expr.py), "" = always
    description: str = ""
    owner: str = ""
    redact: Redact | None = None
    revision: int = 0


class Decision(msgspec.Struct, frozen=True):
    """What the rules say of one call. `rule` is the id of the rule that names the decision, None = the default."""

    effect: str
    rule: str | None = None
    title: str = ""
    message: str = ""
    ruleset: int = 0  # version of the rule set that decided
    redact: tuple[Rule, ...] = ()  # every rule that redacts, whatever names the decision
    failed: bool = False  # denied because the rule could not be evaluated
