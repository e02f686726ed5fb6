"""Rules and decisions (design §1 and §5).

A rule is what it is about (`match`), what has to hold besides (`when` and the other conditions, all of them), and what
follows (`effect`). Each kind of rule that a policy needs is a combination of these: docs/guides/rules.md lists them.
"""

from typing import Any

import msgspec

EFFECTS = ("deny", "require_approval", "redact", "wrap", "record", "allow")  # strictest first
PHASES = ("call", "result", "both")
ENFORCE, SHADOW = MODES = ("enforce", "shadow")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LIMITS = ("rate", "concurrency", "cost")
PER = ("person", "agent", "client", "tool", "upstream")


class Times(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A window of the week on the clocks of `zone` (IANA name): from `since` up to `until` (`HH:MM`, `until` may be
    `24:00`; an earlier `until` is of the next day) on `days` (none named: all)."""

    days: tuple[str, ...] = ()
    since: str = "00:00"
    until: str = "24:00"
    zone: str = "UTC"


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule applies to. Every list is a set of globs (`*`, `?`); an empty list matches all.

    `tool` matches the upstream's own tool name or the public name, `annotation` texts such as `destructiveHint=true`,
    `risk` the severity of the worst finding that nobody has acknowledged, `status` that of the definition, `network`
    holds networks (CIDR) that the request comes from. `unless` excludes what it matches.
    """

    upstream: tuple[str, ...] = ()
    tool: tuple[str, ...] = ()
    person: tuple[str, ...] = ()  # e-mail
    role: tuple[str, ...] = ()
    team: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    client: tuple[str, ...] = ()
    auth_mode: tuple[str, ...] = ()
    label: tuple[str, ...] = ()  # of the upstream
    annotation: tuple[str, ...] = ()
    risk: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    times: Times | None = None
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


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition: at least `least` places of arguments or answer hold what `dlp` finds; lists as in `Redact`."""

    detectors: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    least: int = 1


class Egress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition: arguments or answer name a host that is not in `hosts` (globs)."""

    hosts: tuple[str, ...]


class Injection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition: the scanner finds instructions in the answer, of this severity or worse."""

    severity: str = "high"


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition: more than `most` calls (`rate`) or costs (`cost`) within a sliding window, or calls at once
    (`concurrency`), counted for each different value of `per` (none: for the tenant). What a call costs is `cost`, or
    the number at `field` of its result (names joined by dots)."""

    kind: str
    most: float
    window_s: float = 60.0
    per: tuple[str, ...] = ()
    cost: float = 1.0
    field: str = ""


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an approval takes: `quorum` different reviewers out of one of the teams `reviewers` (none: any reviewer)
    within `expires_s`; after `escalate_s` (0: never) also those of the teams `escalate_to`."""

    reviewers: tuple[str, ...] = ()
    quorum: int = 1
    expires_s: float = 1800.0
    escalate_s: float = 0.0
    escalate_to: tuple[str, ...] = ()


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
    mode: str = "enforce"  # shadow: evaluated and recorded, without effect
    phase: str = ""  # "" = as its conditions say
    args_schema: dict[str, Any] | None = None  # a condition: the arguments are not valid under this JSON Schema
    dlp: Contents | None = None
    egress: Egress | None = None
    injection: Injection | None = None
    limit: Limit | None = None
    approval: Approval | None = None
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
    approvals: tuple[Rule, ...] = ()  # every rule that asks for one
    limits: tuple[Rule, ...] = ()  # every rule whose limit counts this call
    results: tuple[Rule, ...] = ()  # every rule that looks at the answer
    seen: str = ""  # what rules found in the arguments: classes and counts
    shadow: str = ""  # `effect:rule` that shadow rules would have made of it, where that differs
