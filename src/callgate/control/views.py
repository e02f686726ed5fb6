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
from callgate.store.findings import Kept


def iso(seconds: float | None) -> str | None:
    """A time in seconds since 1970 as ISO 8601, UTC; None for none."""
    return clock.iso(seconds) if seconds else None


class PersonView(msgspec.Struct, frozen=True):
    """A person."""

    id: str
    email: str
    roles: tuple[str, ...]
    teams: tuple[str, ...]
    active: bool
    created: str | None


class AgentView(msgspec.Struct, frozen=True):
    """An agent profile; `upstreams` null means all. One that is not `active` was stopped."""

    id: str
    name: str
    upstreams: tuple[str, ...] | None
    owner: str | None = None
    active: bool = True


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

    def __repr__(self) -> str:
        return f"IssuedToken({self.id})"


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
    kind: str
    client_id: str
    issuer: str
    scopes: tuple[str, ...]
    writes: str
    provider: str


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
    review: str
    trust_below: str
    labels: tuple[str, ...]
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


class Acknowledged(msgspec.Struct, frozen=True):
    """Who looked at a finding and let it stand."""

    by: str
    at: str | None
    note: str


class FindingView(msgspec.Struct, frozen=True, rename={"cls": "class"}):
    """One thing that the scanner saw: `start` and `end` count the characters of the string at `path` (JSON Pointer).

    `id` names it in this exact content; `decoded` is what an encoded or hidden text says. All texts are neutralised.
    """

    id: str
    rule: str
    version: int
    cls: str
    severity: str
    path: str
    start: int
    end: int
    key: bool
    excerpt: str
    decoded: str
    why: str
    fix: str
    raised: str | None
    acknowledged: Acknowledged | None


class ToolView(msgspec.Struct, frozen=True):
    """A tool. `name` is its public name, `tool` the upstream's own; `listed`: the upstream still offered it when it was
    last looked at. `risk` is the worst severity that nobody has acknowledged, `approved_by` how it came to be trusted
    (`review`, `trust_on_first_use`), `pinned`: agents still get the approved text; `awaiting_second`: one of two
    reviewers has approved this hash; `renamed_from`: the public name under which this body was known before."""

    name: str
    upstream: str
    status: str
    core: str
    full: str
    findings: tuple[FindingView, ...]
    id: str
    tool: str
    approved_full: str | None
    approved_by: str
    quarantined: str
    first_seen: str | None
    last_seen: str | None
    listed: bool
    worst: str
    risk: str
    pinned: bool
    awaiting_second: bool
    renamed_from: str | None


class ToolDetail(ToolView, frozen=True):
    """A tool with its definition as received; `raw` instead when it can not be read as JSON (quarantined)."""

    definition: msgspec.Raw | None
    raw: str | None


class DefinitionView(msgspec.Struct, frozen=True):
    """A prompt, resource, template, the server's instructions, or the server itself. They need no approval to be shown;
    `held_back`: this one is not, since it changed after an approval, was blocked, or has a high finding."""

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
    approved_full: str | None
    worst: str
    risk: str
    held_back: bool


class DefinitionDetail(DefinitionView, frozen=True):
    """One of them with its content and what the scanner saw in it."""

    definition: msgspec.Raw | None
    raw: str | None
    findings: tuple[FindingView, ...]


class RuleView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rule. What is nested holds what is not empty; conditions that it does not have are left out."""

    id: str
    title: str
    effect: str
    mode: str
    match: dict[str, Any]
    when: str
    message: str
    description: str
    owner: str
    redact: dict[str, Any] | None
    phase: str = ""
    args_schema: dict[str, Any] | None = None
    dlp: dict[str, Any] | None = None
    egress: dict[str, Any] | None = None
    injection: dict[str, Any] | None = None
    limit: dict[str, Any] | None = None
    approval: dict[str, Any] | None = None


def person_view(person: Person) -> PersonView:
    return PersonView(person.id, person.email, person.roles, person.teams, person.active, iso(person.created))


def agent_view(agent: Agent, owner: str | None = None) -> AgentView:
    return AgentView(agent.id, agent.name, agent.upstreams, owner, agent.active)


def token_view(token: Token, email: str) -> TokenView:
    times = (iso(token.created), iso(token.expires), iso(token.revoked_at), iso(token.last_used))
    return TokenView(token.id, email, token.agent, token.client, *times)


def rule_view(rule: Rule) -> RuleView:
    values = msgspec.to_builtins(rule)
    schema = values.pop("args_schema")
    return RuleView(
        **{name: _filled(values[name]) for name in RuleView.__struct_fields__ if name in values}, args_schema=schema
    )


def _filled(value: Any) -> Any:
    """Without the members of objects that say nothing."""
    if not isinstance(value, dict):
        return value
    return {name: _filled(one) for name, one in value.items() if one}


def upstream_view(upstream: Upstream, state: UpstreamState | None, counts: Mapping[str, int]) -> UpstreamView:
    """An upstream with its state and the numbers of its tools by status."""
    seen = state or UpstreamState(upstream.id)
    stdio = upstream.stdio
    program = None
    if stdio is not None:
        program = StdioView(stdio.command, stdio.args, stdio.env, stdio.secret_env, stdio.cwd)
    auth = AuthView(
        upstream.auth_mode, upstream.auth_header, upstream.auth_scheme, upstream.secret_id is not None and not stdio,
        **msgspec.structs.asdict(upstream.auth),
    )  # fmt: skip
    return UpstreamView(
        id=upstream.id, name=upstream.name, kind=upstream.kind, url=upstream.url, stdio=program, auth=auth,
        allow_private=upstream.allow_private, enabled=upstream.enabled, timeout_s=upstream.timeout_s,
        review=upstream.review, trust_below=upstream.trust_below, labels=upstream.labels,
        state=seen.state if upstream.enabled else "disabled", reason=clean(seen.reason), era=seen.era,
        version=seen.version, server_name=clean(seen.server_name), server_version=clean(seen.server_version),
        observed=iso(seen.observed_at), tools={status: counts.get(status, 0) for status in STATUSES},
        findings=findings(stdio),
    )  # fmt: skip


class Beside(msgspec.Struct, frozen=True):
    """What a view of definitions needs beside them, by row id: upstreams' and people's names, findings, old names."""

    upstreams: Mapping[str, str] = {}
    findings: Mapping[str, tuple[Kept, ...]] = {}
    people: Mapping[str, str] = {}
    renamed: Mapping[str, str] = {}


def finding_view(kept: Kept, people: Mapping[str, str]) -> FindingView:
    found = kept.finding
    acknowledged = None
    if kept.acked_by is not None:
        acknowledged = Acknowledged(people.get(kept.acked_by, kept.acked_by), iso(kept.acked_at), kept.note)
    return FindingView(
        id=f"{kept.definition}.{kept.key}", rule=found.rule, version=found.version, cls=found.cls,
        severity=found.severity, path=clean(found.path), start=found.start, end=found.end, key=found.key,
        excerpt=clean(found.excerpt), decoded=clean(found.decoded), why=found.why, fix=found.fix,
        raised=iso(kept.raised), acknowledged=acknowledged,
    )  # fmt: skip


def findings_of(definition: str, beside: Beside) -> tuple[FindingView, ...]:
    return tuple(finding_view(kept, beside.people) for kept in beside.findings.get(definition, ()))


def tool_view(tool: Definition, beside: Beside) -> ToolView:
    return ToolView(
        name=tool.public_name, upstream=beside.upstreams.get(tool.upstream, ""), status=tool.status, core=tool.core,
        full=tool.full, findings=findings_of(tool.id, beside), id=tool.id, tool=clean(tool.name),
        approved_full=tool.approved_full, approved_by=tool.approved_by, quarantined=tool.quarantined,
        first_seen=iso(tool.first_seen), last_seen=iso(tool.last_seen), listed=tool.listed, worst=tool.worst,
        risk=tool.risk, pinned=tool.pinned is not None,
        awaiting_second=tool.seconded_full is not None and tool.seconded_full == tool.full,
        renamed_from=beside.renamed.get(tool.renamed_from or ""),
    )  # fmt: skip


def definition_view(one: Definition, beside: Beside) -> DefinitionView:
    return DefinitionView(
        id=one.id, kind=one.kind, name=clean(one.name), public_name=clean(one.public_name),
        upstream=beside.upstreams.get(one.upstream, ""), core=one.core, full=one.full, status=one.status,
        quarantined=one.quarantined, first_seen=iso(one.first_seen), last_seen=iso(one.last_seen),
        approved_full=one.approved_full, worst=one.worst, risk=one.risk, held_back=not one.usable,
    )  # fmt: skip


def content(raw: bytes, quarantined: str) -> tuple[msgspec.Raw | None, str | None]:
    """A definition's bytes for a JSON answer: as they are when they are good JSON, else as a text."""
    if quarantined:
        return None, raw.decode("utf-8", "backslashreplace")
    return msgspec.Raw(raw), None


def clean(text: str) -> str:
    """An upstream's text for a JSON answer: lone surrogates, which UTF-8 can not hold, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
