"""The governance file as types (design §5): people, agents, upstreams, tools and rules of one tenant.

Strict: an unknown member anywhere is an error. Secrets are never in the document, only references `{env: NAME}`; the
values travel beside it and are sealed at once.
"""

from typing import Annotated, Any, Literal

import msgspec

from callgate.control.fields import (
    Amount,
    Argument,
    AuthMode,
    Count,
    Email,
    Expression,
    FullHash,
    Glob,
    Globs,
    HeaderName,
    HeaderValue,
    Labels,
    LongText,
    Owner,
    OwnMode,
    PublicName,
    ReviewMode,
    RuleId,
    Scope,
    Seconds,
    SecretKind,
    Severity,
    Slug,
    Text,
    TimeOfDay,
    Title,
    Url,
    Variable,
    Window,
)
from callgate.model.rule import Rule
from callgate.model.ruleset import RuleTest

Role = Literal["member", "reviewer", "admin", "auditor"]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class SecretRef(_Strict, frozen=True):
    """A secret by the name of the environment variable that holds it where `apply` runs."""

    env: Variable


class TimesSpec(_Strict, frozen=True):
    """A window of the week: from `since` up to `until` (`HH:MM`; `24:00` is the end of a day) on the clocks of `zone`
    (a name such as Europe/Berlin). An `until` before `since` is of the next day."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    since: TimeOfDay = "00:00"
    until: TimeOfDay = "24:00"
    zone: Title = "UTC"


class UnlessSpec(_Strict, frozen=True):
    """What a rule does not apply to: lists of globs; an empty list matches all."""

    upstream: Globs = ()
    tool: Globs = ()
    person: Globs = ()
    role: Globs = ()
    team: Globs = ()
    agent: Globs = ()
    client: Globs = ()
    auth_mode: Globs = ()
    label: Globs = ()
    annotation: Globs = ()
    risk: Globs = ()
    status: Globs = ()
    network: Globs = ()
    times: TimesSpec | None = None


class MatchSpec(UnlessSpec, frozen=True):
    """What a rule applies to: lists of globs; an empty list matches all; `unless` excludes what it matches."""

    unless: UnlessSpec | None = None


class PersonSpec(_Strict, frozen=True):
    """One person. Roles not named are taken away; a person who is not named is left alone."""

    email: Email
    roles: tuple[Role, ...] = ("member",)
    teams: tuple[Slug, ...] = ()


class AgentSpec(_Strict, frozen=True):
    """An agent profile; `upstreams` are globs, null means all; `owner` answers for it, null for nobody."""

    name: Slug
    upstreams: tuple[Glob, ...] | None = None
    owner: Email | None = None


class StdioSpec(_Strict, frozen=True):
    """A program that speaks MCP on its standard streams. An `env` value is a text or a reference to a secret."""

    command: Argument
    args: tuple[Argument, ...] = ()
    env: dict[Variable, Argument | SecretRef] = {}
    cwd: Argument | None = None


class AuthSpec(_Strict, frozen=True):
    """How the gateway authenticates to the upstream. `scheme: ""` sends the bare secret as the header's value."""

    mode: AuthMode = "none"
    secret: SecretRef | None = None
    header: HeaderName = "Authorization"
    scheme: HeaderValue = "Bearer"
    kind: SecretKind = "secret"
    client_id: Text = ""
    issuer: Url | None = None
    scopes: tuple[Scope, ...] = ()
    writes: OwnMode | None = None
    provider: Slug | None = None


class UpstreamSpec(_Strict, frozen=True):
    """One upstream: `url` (streamable HTTP, or HTTP+SSE with `transport: sse`) or `stdio`."""

    name: Slug
    url: Url | None = None
    transport: Literal["http", "sse"] = "http"
    stdio: StdioSpec | None = None
    auth: AuthSpec | None = None
    allow_private: bool = False
    enabled: bool = True
    timeout_s: Seconds = 300.0
    review: ReviewMode = "review"
    trust_below: Severity = "medium"
    labels: Labels = ()


class OptionsSpec(_Strict, frozen=True):
    """What the tenant chooses for itself; what is left out stays."""

    two_person_review: bool | None = None
    default_effect: Literal["allow", "deny"] | None = None


class ToolSpec(_Strict, frozen=True):
    """A review in advance. Without `full` only tools that nobody has reviewed become trusted."""

    upstream: Slug
    tool: Glob
    status: Literal["trusted", "blocked"] = "trusted"
    full: FullHash | None = None


class RedactSpec(_Strict, frozen=True):
    """What `effect: redact` replaces. Without detectors, kinds and members: all secrets and personal data."""

    phase: Literal["call", "result", "both"] = "both"
    detectors: Globs = ()
    kinds: tuple[Literal["secret", "personal"], ...] = ()
    members: Globs = ()
    action: Literal["mask", "partial", "hash", "remove"] = "mask"
    allowed: Globs = ()


class ContentsSpec(_Strict, frozen=True):
    """A condition: what the detectors find in arguments or answers, in at least so many places."""

    detectors: Globs = ()
    kinds: tuple[Literal["secret", "personal"], ...] = ()
    allowed: Globs = ()
    least: Count = 1


class EgressSpec(_Strict, frozen=True):
    """A condition: arguments or answer name a host that none of these globs matches."""

    hosts: Globs


class InjectionSpec(_Strict, frozen=True):
    """A condition: the scanner finds something of this severity or worse in the answer."""

    severity: Severity = "high"


class LimitSpec(_Strict, frozen=True):
    """A condition: a call more than `most` (`rate`: within `window_s` seconds; `concurrency`: at once), or a `cost` of
    more than that within the window, counted for each value of `per`."""

    kind: Literal["rate", "concurrency", "cost"]
    most: Amount
    window_s: Window = 60.0
    per: tuple[Literal["person", "agent", "client", "tool", "upstream"], ...] = ()
    cost: Amount = 1.0
    field: Annotated[str, msgspec.Meta(max_length=256)] = ""


class ApprovalSpec(_Strict, frozen=True):
    """Whose approval a call needs: of so many different people out of one of these teams (none: any reviewer)."""

    reviewers: tuple[Slug, ...] = ()
    quorum: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    expires_s: Window = 1800.0
    escalate_s: Annotated[float, msgspec.Meta(ge=0, le=2_678_400)] = 0.0
    escalate_to: tuple[Slug, ...] = ()


class RuleBody(_Strict, frozen=True):
    """A rule without its id. `when` is a condition in CEL; `message` is what the agent is told in place of the standard
    sentence."""

    title: Title
    effect: Literal["deny", "require_approval", "redact", "wrap", "record", "allow"]
    match: MatchSpec = MatchSpec()
    when: Expression = ""
    message: LongText = ""
    description: LongText = ""
    owner: Owner = ""
    redact: RedactSpec | None = None
    mode: Literal["enforce", "shadow"] = "enforce"
    phase: Literal["", "call", "result", "both"] = ""
    args_schema: dict[str, Any] | None = None
    dlp: ContentsSpec | None = None
    egress: EgressSpec | None = None
    injection: InjectionSpec | None = None
    limit: LimitSpec | None = None
    approval: ApprovalSpec | None = None


class RuleSpec(RuleBody, frozen=True, kw_only=True):
    """One rule."""

    id: RuleId


class TestSpec(_Strict, frozen=True):
    """A call and what the rules have to decide of it. `person`: an address, or nothing for somebody with just these
    roles and teams; without `arguments` as in a list; `rule` has to name the decision."""

    id: RuleId
    tool: PublicName
    expect: Literal["allow", "deny", "redact", "require_approval"]
    person: Email | None = None
    roles: tuple[Role, ...] = ("member",)
    teams: tuple[Slug, ...] = ()
    agent: Slug | None = None
    client: Text | None = None
    arguments: dict[str, Any] | None = None
    rule: RuleId | None = None


class Document(_Strict, frozen=True):
    """The whole file. A section that is left out is left alone."""

    people: tuple[PersonSpec, ...] | None = None
    agents: tuple[AgentSpec, ...] | None = None
    upstreams: tuple[UpstreamSpec, ...] | None = None
    tools: tuple[ToolSpec, ...] | None = None
    rules: tuple[RuleSpec, ...] | None = None
    tests: tuple[TestSpec, ...] | None = None
    options: OptionsSpec | None = None


def rule_in(spec: RuleBody, rule_id: str) -> Rule:
    """The rule as the policy knows it, not checked yet."""
    return msgspec.convert({**msgspec.to_builtins(spec), "id": rule_id}, Rule)


def spec_of(rule: Rule) -> RuleSpec:
    """The inverse of `rule_in`, lean: what has its default value is left out when it is written."""
    values = msgspec.to_builtins(rule)
    del values["revision"]
    if values["match"]["unless"] is not None:
        del values["match"]["unless"]["unless"]  # an exception has none of its own
    return msgspec.convert(values, RuleSpec)


def test_in(spec: TestSpec) -> RuleTest:
    """The test as the policy knows it."""
    given = {name: value for name, value in msgspec.to_builtins(spec).items() if value is not None}
    return msgspec.convert(given, RuleTest)


def test_spec(test: RuleTest) -> TestSpec:
    """The inverse of `test_in`."""
    return msgspec.convert({name: one for name, one in msgspec.to_builtins(test).items() if one != ""}, TestSpec)


def secret_names(document: Document) -> list[str]:
    """The environment variables that the document refers to, sorted."""
    names: set[str] = set()
    for upstream in document.upstreams or ():
        if upstream.auth is not None and upstream.auth.secret is not None:
            names.add(upstream.auth.secret.env)
        if upstream.stdio is not None:
            names.update(value.env for value in upstream.stdio.env.values() if isinstance(value, SecretRef))
    return sorted(names)
