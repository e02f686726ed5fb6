"""The configuration of a tenant as a governance document: full hashes, and references in the place of secrets.

What a document can not hold (names with control characters, which only a hostile upstream has) is left out.
"""

import re
from glob import escape
from typing import Any, TypeVar

import msgspec
from msgspec.structs import fields

from callgate.control.documents import (
    AgentSpec,
    AuthSpec,
    Document,
    OptionsSpec,
    PersonSpec,
    SecretRef,
    StdioSpec,
    ToolSpec,
    UpstreamSpec,
    spec_of,
    test_spec,
)
from callgate.control.fields import NO_CONTROLS
from callgate.control.reconcile import everything
from callgate.model.definition import BLOCKED, Definition
from callgate.model.upstream import Upstream
from callgate.policy.kill import is_switch
from callgate.store import agents, definitions, options, people, rulesets, upstreams
from callgate.store.unit import Unit

SpecT = TypeVar("SpecT", bound=msgspec.Struct)


async def document_of(unit: Unit) -> Document:
    """Everything of the unit's tenant, in the order of names."""
    servers = {one.id: one for one in await everything(upstreams.page, unit)}
    tools = await everything(definitions.page, unit, kind="tool")
    named = sorted((servers[one.upstream].name, one.name, one) for one in tools if one.upstream in servers)
    chosen = await options.get(unit)
    everybody = sorted(await everything(people.page, unit, active=True), key=lambda one: one.email)
    owners = {one.id: one.email for one in everybody}
    _, content = await rulesets.in_force(unit)
    return Document(
        options=_options(chosen),
        people=tuple(_lean(PersonSpec, email=one.email, roles=one.roles, teams=one.teams) for one in everybody),
        agents=tuple(
            _lean(AgentSpec, name=one.name, upstreams=one.upstreams, owner=owners.get(one.owner or ""))
            for one in sorted(await everything(agents.page, unit), key=lambda one: one.name)
        ),
        upstreams=tuple(_upstream(one) for one in sorted(servers.values(), key=lambda one: one.name)),
        tools=tuple(spec for name, _own, one in named if (spec := _tool(name, one)) is not None),
        rules=tuple(spec_of(one) for one in content.rules if not is_switch(one)),
        tests=tuple(test_spec(one) for one in content.tests) or None,
    )


def _lean(spec: type[SpecT], /, **values: Any) -> SpecT:
    """A spec whose members that have their default value are the default, so that the document leaves them out."""
    usual = {one.name: one.default for one in fields(spec)}
    return spec(**{name: value for name, value in values.items() if value != usual[name]})


def _options(chosen: options.Options) -> OptionsSpec | None:
    found = OptionsSpec(True if chosen.two_person_review else None, "deny" if chosen.default_effect == "deny" else None)
    return None if found == OptionsSpec() else found


def _upstream(one: Upstream) -> UpstreamSpec:
    stdio = auth = None
    if one.stdio is not None:
        env: dict[str, str | SecretRef] = dict(one.stdio.env)
        env |= {name: SecretRef(name) for name in one.stdio.secret_env}
        stdio = _lean(StdioSpec, command=one.stdio.command, args=one.stdio.args, env=env, cwd=one.stdio.cwd)
    if one.auth_mode != "none":
        secret = SecretRef(_variable(one.name)) if one.secret_id is not None else None
        more = msgspec.structs.asdict(one.auth)
        more |= {name: more[name] or None for name in ("issuer", "writes", "provider")}
        auth = _lean(
            AuthSpec, mode=one.auth_mode, secret=secret, header=one.auth_header, scheme=one.auth_scheme, **more
        )
    return _lean(
        UpstreamSpec,
        name=one.name,
        url=one.url,
        transport="sse" if one.kind == "sse" else "http",
        stdio=stdio,
        auth=auth,
        allow_private=one.allow_private,
        enabled=one.enabled,
        timeout_s=one.timeout_s,
        review=one.review,
        trust_below=one.trust_below,
        labels=one.labels,
    )


def _variable(upstream: str) -> str:
    """The environment variable that a document names for an upstream's credential."""
    name = re.sub(r"[^A-Z0-9]", "_", upstream.upper()) + "_SECRET"
    return f"_{name}" if name[0].isdigit() else name


def _tool(upstream: str, one: Definition) -> ToolSpec | None:
    name = escape(one.name)
    if re.search(NO_CONTROLS, one.name) is None or not one.name or len(name) > 256:
        return None
    if one.callable:
        return ToolSpec(upstream, name, "trusted", one.full)
    return ToolSpec(upstream, name, "blocked") if one.status == BLOCKED else None
