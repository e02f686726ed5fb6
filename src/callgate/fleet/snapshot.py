"""What one gateway process knows of one tenant at one revision: immutable, compiled, swapped whole. Pure.

`apply` makes the next snapshot out of a delta and shares every map that the delta does not touch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from callgate.model.definition import Definition
from callgate.model.person import Agent
from callgate.model.rule import Rule
from callgate.model.upstream import Upstream, UpstreamState
from callgate.policy.compile import EMPTY, CompiledRules, compile_rules
from callgate.policy.kill import is_switch

T = TypeVar("T")
Key = tuple[str, str]  # kind and name


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One tenant. `tools` and `prompts` by public name, `by_upstream` by row id and (kind, name)."""

    tenant: str
    revisions: Mapping[str, int] = field(default_factory=dict)
    upstreams: Mapping[str, Upstream] = field(default_factory=dict)
    upstream_names: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, UpstreamState] = field(default_factory=dict)
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    tools: Mapping[str, Definition] = field(default_factory=dict)
    prompts: Mapping[str, Definition] = field(default_factory=dict)
    by_upstream: Mapping[str, Mapping[Key, Definition]] = field(default_factory=dict)
    raw_rules: Mapping[str, Rule] = field(default_factory=dict)
    rules: CompiledRules = EMPTY
    kills: CompiledRules = EMPTY  # the kill switches among them
    agents: Mapping[str, Agent] = field(default_factory=dict)
    keep_arguments_s: float = 0.0  # for how long the arguments of blocked calls are kept


@dataclass(frozen=True, slots=True)
class Delta:
    """Changed rows and deleted ids of the aggregates that moved; an aggregate that did not is empty."""

    revisions: Mapping[str, int]
    upstreams: tuple[Upstream, ...] = ()
    gone_upstreams: tuple[str, ...] = ()
    states: tuple[UpstreamState, ...] = ()
    definitions: tuple[Definition, ...] = ()
    gone_definitions: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    gone_rules: tuple[str, ...] = ()
    default_effect: str | None = None  # None = as it was
    keep_arguments_s: float | None = None  # likewise
    agents: tuple[Agent, ...] = ()
    gone_agents: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many rows it carries."""
        return len(self.upstreams) + len(self.states) + len(self.definitions) + len(self.rules) + len(self.agents)


def apply(snapshot: Snapshot, delta: Delta) -> Snapshot:
    """The next snapshot."""
    snapshot = replace(snapshot, revisions=MappingProxyType(dict(delta.revisions)))
    if delta.upstreams or delta.gone_upstreams:
        snapshot = _upstreams(snapshot, delta)
    if delta.states or delta.gone_upstreams:
        states = _merged(snapshot.states, ((state.upstream, state) for state in delta.states), delta.gone_upstreams)
        snapshot = replace(snapshot, states=states)
    if delta.definitions or delta.gone_definitions:
        snapshot = _definitions(snapshot, delta)
    if delta.rules or delta.gone_rules or delta.default_effect not in (None, snapshot.rules.default):
        raw = _merged(snapshot.raw_rules, ((rule.id, rule) for rule in delta.rules), delta.gone_rules)
        version, default = delta.revisions.get("rules", 0), delta.default_effect or snapshot.rules.default
        kills = compile_rules(filter(is_switch, raw.values()), version)
        rules = compile_rules(raw.values(), version, default)
        snapshot = replace(snapshot, raw_rules=raw, rules=rules, kills=kills)
    if delta.keep_arguments_s is not None:
        snapshot = replace(snapshot, keep_arguments_s=delta.keep_arguments_s)
    if delta.agents or delta.gone_agents:
        snapshot = _agents(snapshot, delta)
    return snapshot


def _merged(known: Mapping[str, T], rows: Iterable[tuple[str, T]], gone: Iterable[str]) -> Mapping[str, T]:
    merged = dict(known)
    for key in gone:
        merged.pop(key, None)
    merged.update(rows)
    return MappingProxyType(merged)


def _upstreams(snapshot: Snapshot, delta: Delta) -> Snapshot:
    rows = ((upstream.id, upstream) for upstream in delta.upstreams)
    upstreams = _merged(snapshot.upstreams, rows, delta.gone_upstreams)
    by_name = MappingProxyType({upstream.name: upstream.id for upstream in upstreams.values()})
    return replace(snapshot, upstreams=upstreams, upstream_names=by_name)


def _agents(snapshot: Snapshot, delta: Delta) -> Snapshot:
    gone = set(delta.gone_agents) | {agent.id for agent in delta.agents}
    kept = {name: agent for name, agent in snapshot.agents.items() if agent.id not in gone}
    kept.update((agent.name, agent) for agent in delta.agents)
    return replace(snapshot, agents=MappingProxyType(kept))


def _definitions(snapshot: Snapshot, delta: Delta) -> Snapshot:
    definitions = dict(snapshot.definitions)
    tools, prompts = dict(snapshot.tools), dict(snapshot.prompts)
    touched: dict[str, dict[Key, Definition]] = {}
    public = {"tool": tools, "prompt": prompts}

    def of(upstream: str) -> dict[Key, Definition]:
        if upstream not in touched:
            touched[upstream] = dict(snapshot.by_upstream.get(upstream, {}))
        return touched[upstream]

    stale = [definitions.pop(key) for key in delta.gone_definitions if key in definitions]
    for old in stale:
        of(old.upstream).pop((old.kind, old.name), None)
        public.get(old.kind, {}).pop(old.public_name, None)
    for new in delta.definitions:
        definitions[new.id] = new
        of(new.upstream)[(new.kind, new.name)] = new
        if new.kind in public:
            public[new.kind][new.public_name] = new
    by_upstream: dict[str, Mapping[Key, Definition]] = dict(snapshot.by_upstream)
    for upstream, entries in touched.items():
        if entries:
            by_upstream[upstream] = MappingProxyType(entries)
        else:
            by_upstream.pop(upstream, None)
    return replace(
        snapshot,
        definitions=MappingProxyType(definitions),
        tools=MappingProxyType(tools),
        prompts=MappingProxyType(prompts),
        by_upstream=MappingProxyType(by_upstream),
    )
