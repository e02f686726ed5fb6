"""The configuration of a tenant as a governance document: full hashes, and references in the place of secrets.

What a document can not hold (names with control characters, which only a hostile upstream has) is left out.
"""

import re
from glob import escape

from callgate.control.documents import (
    DEFAULT_TIMEOUT,
    AgentSpec,
    AuthSpec,
    Document,
    PersonSpec,
    RuleSpec,
    SecretRef,
    StdioSpec,
    ToolSpec,
    UpstreamSpec,
    spec_of,
)
from callgate.control.fields import NO_CONTROLS
from callgate.control.reconcile import everything
from callgate.model.definition import BLOCKED, Definition
from callgate.model.upstream import Upstream
from callgate.store import agents, definitions, people, rules, upstreams
from callgate.store.unit import Unit


async def document_of(unit: Unit) -> Document:
    """Everything of the unit's tenant, in the order of names."""
    servers = {one.id: one for one in await everything(upstreams.page, unit)}
    tools = await everything(definitions.page, unit, kind="tool")
    named = sorted((servers[one.upstream].name, one.name, one) for one in tools if one.upstream in servers)
    return Document(
        people=tuple(
            PersonSpec(one.email, one.roles, one.teams)  # type: ignore[arg-type]  # the store holds known roles
            for one in sorted(await everything(people.page, unit, active=True), key=lambda one: one.email)
        ),
        agents=tuple(
            AgentSpec(one.name, one.upstreams)
            for one in sorted(await everything(agents.page, unit), key=lambda one: one.name)
        ),
        upstreams=tuple(_upstream(one) for one in sorted(servers.values(), key=lambda one: one.name)),
        tools=tuple(spec for name, _own, one in named if (spec := _tool(name, one)) is not None),
        rules=tuple(
            RuleSpec(one.id, one.title, one.effect, spec_of(one.match), one.message)  # type: ignore[arg-type]
            for one in await everything(rules.page, unit)
        ),
    )


def _upstream(one: Upstream) -> UpstreamSpec:
    stdio = None
    if one.stdio is not None:
        env: dict[str, str | SecretRef] = dict(one.stdio.env)
        env |= {name: SecretRef(name) for name in one.stdio.secret_env}
        stdio = StdioSpec(one.stdio.command, one.stdio.args, env, one.stdio.cwd)
    auth = None
    if one.auth_mode == "shared":
        variable = re.sub(r"[^A-Z0-9]", "_", one.name.upper()) + "_SECRET"
        auth = AuthSpec(
            "shared", SecretRef(f"_{variable}" if variable[0].isdigit() else variable), one.auth_header, one.auth_scheme
        )
    return UpstreamSpec(
        name=one.name, url=one.url, transport="sse" if one.kind == "sse" else "http", stdio=stdio, auth=auth,
        allow_private=one.allow_private, enabled=one.enabled, timeout_s=DEFAULT_TIMEOUT if one.timeout_s == DEFAULT_TIMEOUT else one.timeout_s,
    )  # fmt: skip


def _tool(upstream: str, one: Definition) -> ToolSpec | None:
    name = escape(one.name)
    if re.search(NO_CONTROLS, one.name) is None or not one.name or len(name) > 256:
        return None
    if one.callable:
        return ToolSpec(upstream, name, "trusted", one.full)
    return ToolSpec(upstream, name, "blocked") if one.status == BLOCKED else None
