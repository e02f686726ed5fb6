"""The governance file as types (design §5): people, agents, upstreams, tools and rules of one tenant.

Strict: an unknown member anywhere is an error. Secrets are never in the document, only references `{env: NAME}`; the
values travel beside it and are sealed at once.
"""

from typing import Literal

import msgspec

from callgate.control.fields import (
    Argument,
    Email,
    Expression,
    FullHash,
    Glob,
    Globs,
    HeaderName,
    HeaderValue,
    LongText,
    ReviewMode,
    RuleId,
    Seconds,
    Severity,
    Slug,
    Title,
    Url,
    Variable,
)
from callgate.model.rule import Match

Role = Literal["member", "reviewer", "admin", "auditor"]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class SecretRef(_Strict, frozen=True):
    """A secret by the name of the environment variable that holds it where `apply` runs."""

    env: Variable


class UnlessSpec(_Strict, frozen=True):
    """What a rule does not apply to: lists of globs; an empty list matches all."""

    upstream: Globs = ()
    tool: Globs = ()
    person: Globs = ()
    role: Globs = ()
    team: Globs = ()
    agent: Globs = ()
    client: Globs = ()


class MatchSpec(UnlessSpec, frozen=True):
    """What a rule applies to: lists of globs; an empty list matches all; `unless` excludes what it matches."""

    unless: UnlessSpec | None = None


class PersonSpec(_Strict, frozen=True):
    """One person. Roles not named are taken away; a person who is not named is left alone."""

    email: Email
    roles: tuple[Role, ...] = ("member",)
    teams: tuple[Slug, ...] = ()


class AgentSpec(_Strict, frozen=True):
    """An agent profile; `upstreams` are globs, null means all."""

    name: Slug
    upstreams: tuple[Glob, ...] | None = None


class StdioSpec(_Strict, frozen=True):
    """A program that speaks MCP on its standard streams. An `env` value is a text or a reference to a secret."""

    command: Argument
    args: tuple[Argument, ...] = ()
    env: dict[Variable, Argument | SecretRef] = {}
    cwd: Argument | None = None


class AuthSpec(_Strict, frozen=True):
    """How the gateway authenticates to the upstream. `scheme: ""` sends the bare secret as the header's value."""

    mode: Literal["none", "shared"] = "none"
    secret: SecretRef | None = None
    header: HeaderName = "Authorization"
    scheme: HeaderValue = "Bearer"


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


class OptionsSpec(_Strict, frozen=True):
    """What the tenant chooses for itself; what is left out stays."""

    two_person_review: bool | None = None


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


class RuleSpec(_Strict, frozen=True):
    """One rule. `when` is a condition in CEL; `message` is what the agent is told in place of the standard sentence."""

    id: RuleId
    title: Title
    effect: Literal["deny", "redact", "allow"]
    match: MatchSpec = MatchSpec()
    when: Expression = ""
    message: LongText = ""
    description: LongText = ""
    owner: Title | Literal[""] = ""
    redact: RedactSpec | None = None


class Document(_Strict, frozen=True):
    """The whole file. A section that is left out is left alone."""

    people: tuple[PersonSpec, ...] | None = None
    agents: tuple[AgentSpec, ...] | None = None
    upstreams: tuple[UpstreamSpec, ...] | None = None
    tools: tuple[ToolSpec, ...] | None = None
    rules: tuple[RuleSpec, ...] | None = None
    options: OptionsSpec | None = None


def match_of(spec: MatchSpec) -> Match:
    """The rule's match as the policy knows it."""
    return msgspec.convert(msgspec.to_builtins(spec), Match)


def spec_of(match: Match) -> MatchSpec:
    """The inverse of `match_of`."""
    values = msgspec.to_builtins(match)
    if values["unless"] is not None:
        del values["unless"]["unless"]  # an exception has none of its own
    return msgspec.convert(values, MatchSpec)


def secret_names(document: Document) -> list[str]:
    """The environment variables that the document refers to, sorted."""
    names: set[str] = set()
    for upstream in document.upstreams or ():
        if upstream.auth is not None and upstream.auth.secret is not None:
            names.add(upstream.auth.secret.env)
        if upstream.stdio is not None:
            names.update(value.env for value in upstream.stdio.env.values() if isinstance(value, SecretRef))
    return sorted(names)
