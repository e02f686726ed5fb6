"""What the API shows of each thing: JSON shapes, and how they are made from the domain types.

Nothing here holds a secret: of sealed values only the names are shown. Times are ISO 8601 in UTC.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from callgate import clock
from callgate.control.upstream_findings import UpstreamFinding, findings
from callgate.model.definition import STATUSES, Definition
from callgate.model.person import Agent, Person, Token
from callgate.model.rule import Rule
from callgate.model.upstream import Upstream, UpstreamState


def iso(seconds: float | None) -> str | None:
    """A time in seconds since 1970 as ISO 8601, UTC; None for none."""
    if not seconds:
        return None
    return clock.utc(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class PersonView(msgspec.Struct, frozen=True):
    """A person."""

    id: str
    email: str
    roles: tuple[str, ...]
    teams: tuple[str, ...]
    active: bool
    created: str | None


class AgentView(msgspec.Struct, frozen=True):
    """An agent profile; `upstreams` null means all."""

    id: str
    name: str
    upstreams: tuple[str, ...] | None


class TokenView(msgspec.Struct, frozen=True):
    """An access token without its clear text, which is shown once and stored nowhere."""

    id: str
    person: str
    agent: str | None
    client: str | None
    created: str | None
    expires: str | None
    revoked: str | None
    last_used: str | None


class IssuedToken(msgspec.Struct, frozen=True):
    """A fresh token; `token` is its clear text."""

    id: str
    token: str
    person: str
    agent: str | None
    client: str | None
    expires: str | None


class StdioView(msgspec.Struct, frozen=True):
    """A program; of `secret_env` only the names."""

    command: str
    args: tuple[str, ...]
    env: dict[str, str]
    secret_env: tuple[str, ...]
    cwd: str | None


class AuthView(msgspec.Struct, frozen=True):
    """How the gateway authenticates; never the secret."""

    mode: str
    header: str
    scheme: str
    has_secret: bool


class UpstreamView(msgspec.Struct, frozen=True):
    """An upstream as configured and as last seen. `tools` counts its tools by status."""

    id: str
    name: str
    kind: str
    url: str | None
    stdio: StdioView | None
    auth: AuthView
    allow_private: bool
    enabled: bool
    timeout_s: float
    state: str
    reason: str
    era: str | None
    version: str | None
    server_name: str
    server_version: str
    observed: str | None
    tools: dict[str, int]
    findings: tuple[UpstreamFinding, ...]


class UpstreamDetail(UpstreamView, frozen=True):
    """One upstream with its instructions and the last lines of its stderr, which is kept in memory only."""

    identity: str
    instructions: str
    stderr: str


class Finding(msgspec.Struct, frozen=True):
    """One thing that a scanner saw (the scanner comes later; the list is empty until then)."""

    rule: str
    severity: str


class ToolView(msgspec.Struct, frozen=True):
    """A tool. `name` is its public name, `tool` the upstream's own; `listed`: the upstream still offered it when it was
    last looked at."""

    name: str
    upstream: str
    status: str
    core: str
    full: str
    findings: tuple[Finding, ...]
    id: str
    tool: str
    approved_full: str | None
    quarantined: str
    first_seen: str | None
    last_seen: str | None
    listed: bool


class ToolDetail(ToolView, frozen=True):
    """A tool with its definition as received; `raw` instead when it can not be read as JSON (quarantined)."""

    definition: msgspec.Raw | None
    raw: str | None


class DefinitionView(msgspec.Struct, frozen=True):
    """A prompt, resource, template or the server's instructions. They are recorded and not reviewed yet."""

    id: str
    kind: str
    name: str
    public_name: str
    upstream: str
    core: str
    full: str
    status: str
    quarantined: str
    first_seen: str | None
    last_seen: str | None


class DefinitionDetail(DefinitionView, frozen=True):
    """One of them with its content."""

    definition: msgspec.Raw | None
    raw: str | None


class RuleView(msgspec.Struct, frozen=True):
    """A rule. `match` holds the lists that are not empty."""

    id: str
    title: str
    effect: str
    match: dict[str, Any]
    message: str


def person_view(person: Person) -> PersonView:
    return PersonView(person.id, person.email, person.roles, person.teams, person.active, iso(person.created))


def agent_view(agent: Agent) -> AgentView:
    return AgentView(agent.id, agent.name, agent.upstreams)


def token_view(token: Token, email: str) -> TokenView:
    times = (iso(token.created), iso(token.expires), iso(token.revoked_at), iso(token.last_used))
    return TokenView(token.id, email, token.agent, token.client, *times)


def rule_view(rule: Rule) -> RuleView:
    match = {key: value for key, value in msgspec.to_builtins(rule.match).items() if value}
    if rule.match.unless is not None:
        match["unless"] = {key: value for key, value in match["unless"].items() if value}
    return RuleView(rule.id, rule.title, rule.effect, match, rule.message)


def upstream_view(upstream: Upstream, state: UpstreamState | None, counts: Mapping[str, int]) -> UpstreamView:
    """An upstream with its state and the numbers of its tools by status."""
    seen = state or UpstreamState(upstream.id)
    stdio = upstream.stdio
    program = None
    if stdio is not None:
        program = StdioView(stdio.command, stdio.args, stdio.env, stdio.secret_env, stdio.cwd)
    auth = AuthView(
        upstream.auth_mode, upstream.auth_header, upstream.auth_scheme, upstream.secret_id is not None and not stdio
    )
    return UpstreamView(
        id=upstream.id, name=upstream.name, kind=upstream.kind, url=upstream.url, stdio=program, auth=auth,
        allow_private=upstream.allow_private, enabled=upstream.enabled, timeout_s=upstream.timeout_s,
        state=seen.state if upstream.enabled else "disabled", reason=clean(seen.reason), era=seen.era,
        version=seen.version, server_name=clean(seen.server_name), server_version=clean(seen.server_version),
        observed=iso(seen.observed_at), tools={status: counts.get(status, 0) for status in STATUSES},
        findings=findings(stdio),
    )  # fmt: skip


def tool_view(tool: Definition, upstream: str) -> ToolView:
    return ToolView(
        name=tool.public_name, upstream=upstream, status=tool.status, core=tool.core, full=tool.full, findings=(),
        id=tool.id, tool=clean(tool.name), approved_full=tool.approved_full, quarantined=tool.quarantined,
        first_seen=iso(tool.first_seen), last_seen=iso(tool.last_seen), listed=tool.listed,
    )  # fmt: skip


def definition_view(one: Definition, upstream: str) -> DefinitionView:
    return DefinitionView(
        id=one.id, kind=one.kind, name=clean(one.name), public_name=clean(one.public_name), upstream=upstream,
        core=one.core, full=one.full, status=one.status, quarantined=one.quarantined,
        first_seen=iso(one.first_seen), last_seen=iso(one.last_seen),
    )  # fmt: skip


def content(raw: bytes, quarantined: str) -> tuple[msgspec.Raw | None, str | None]:
    """A definition's bytes for a JSON answer: as they are when they are good JSON, else as a text."""
    if quarantined:
        return None, raw.decode("utf-8", "backslashreplace")
    return msgspec.Raw(raw), None


def clean(text: str) -> str:
    """An upstream's text for a JSON answer: lone surrogates, which UTF-8 can not hold, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
