"""Making the store as a governance document says, in one transaction, and noting every change.

Each section is a function of the same shape. Fail closed: a reference to something that does not exist, a secret that
is not given, or a change that the actor may not make refuses the whole document.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec

from callgate import ids
from callgate.control.documents import (
    AgentSpec,
    AuthSpec,
    Document,
    PersonSpec,
    RuleSpec,
    SecretRef,
    UpstreamSpec,
    test_in,
)
from callgate.control.options import choose
from callgate.control.outcome import Outcome
from callgate.control.publishing import publish
from callgate.control.reviewing import review
from callgate.control.rules import rule_of
from callgate.control.services import Services
from callgate.control.upstream_config import (
    NewAuth,
    NewStdio,
    NewUpstream,
    UpstreamChange,
    create,
    revise,
)
from callgate.control.upstreams import delete, insert, replace
from callgate.control.views import clean
from callgate.errors import Refused
from callgate.identity import people as identity
from callgate.identity.recording import record
from callgate.model.caller import Actor
from callgate.model.person import Agent
from callgate.model.rule import Rule
from callgate.model.ruleset import RuleSet
from callgate.policy.kill import is_switch
from callgate.store import agents, people, rulesets, states, upstreams
from callgate.store.unit import Unit


class _Row(Protocol):
    @property
    def id(self) -> str: ...


SpecT = TypeVar("SpecT", PersonSpec, AgentSpec, UpstreamSpec, RuleSpec)
RowT = TypeVar("RowT", bound=_Row)


@dataclass(frozen=True, slots=True)
class Work:
    """One document and who applies it."""

    services: Services
    actor: Actor
    document: Document
    secrets: Mapping[str, str] = field(repr=False)
    prune: bool = False

    def secret(self, ref: SecretRef) -> str:
        """The value of a reference. Raises `Refused("validation")`."""
        value = self.secrets.get(ref.env)
        if value is None:
            raise Refused("validation", f"The secret {ref.env} is not set where the file is applied.")
        return value


async def run(work: Work, unit: Unit, outcome: Outcome) -> None:
    """All sections in the order in which they refer to each other. Raises `Refused`."""
    for section in (_options, _people, _agents, _upstreams, _rules):
        await section(work, unit, outcome)
    await review(work.actor, work.document, unit, outcome)
    await _discovered(work, unit, outcome)


async def _discovered(work: Work, unit: Unit, outcome: Outcome) -> None:
    """Name every upstream of the document that has not been looked at, or is broken."""
    for spec in work.document.upstreams or ():
        upstream = await upstreams.by_name(unit, spec.name)
        if upstream is None or not upstream.enabled:
            continue
        state = await states.get(unit, upstream.id)
        if state is None or state.state == "new":
            outcome.lacks("upstream", spec.name, "it was not looked at yet")
        elif state.state == "broken":
            outcome.lacks("upstream", spec.name, f"it is broken: {clean(state.reason)}")


async def _options(work: Work, unit: Unit, outcome: Outcome) -> None:
    if work.document.options is not None:
        before, after = await choose(unit, work.actor, work.document.options.two_person_review)
        if after != before:
            outcome.add("change", "options", "two_person_review", "true" if after.two_person_review else "false")


async def _people(work: Work, unit: Unit, outcome: Outcome) -> None:
    for spec in unique(work.document.people or (), "people", lambda one: one.email.lower()):
        person = await people.by_email(unit, spec.email)
        roles, teams = tuple(sorted(set(spec.roles))), tuple(sorted(set(spec.teams)))
        if person is None:
            await identity.add(unit, work.actor, spec.email, roles, teams)
            outcome.add("add", "person", spec.email)
        elif not person.active:
            reason = f"deactivated; let them in by hand: callgate people reactivate {spec.email}"
            outcome.lacks("person", spec.email, reason, final=True)
        elif (person.roles, person.teams) != (roles, teams):
            await identity.change(unit, work.actor, person, roles, teams)
            outcome.add("change", "person", spec.email)


async def _agents(work: Work, unit: Unit, outcome: Outcome) -> None:
    specs = unique(work.document.agents or (), "agents", lambda one: one.name)
    for spec in specs:
        globs = None if spec.upstreams is None else tuple(sorted(set(spec.upstreams)))
        owner = await _owner(unit, spec)
        agent = await agents.by_name(unit, spec.name)
        if agent is None:
            agent = await agents.add(unit, Agent(ids.new_id("agt"), unit.tenant, spec.name, globs, owner=owner))
            await record(unit, work.actor, "agents.add", agent.id)
            outcome.add("add", "agent", spec.name)
        elif (agent.upstreams, agent.owner) != (globs, owner):
            await agents.update_one(unit, msgspec.structs.replace(agent, upstreams=globs, owner=owner))
            await record(unit, work.actor, "agents.change", agent.id)
            outcome.add("change", "agent", spec.name)
    if work.prune and work.document.agents is not None:
        for agent in await everything(agents.page, unit):
            if agent.name not in {spec.name for spec in specs}:
                await agents.remove(unit, agent.id)
                await record(unit, work.actor, "agents.remove", agent.id)
                outcome.add("remove", "agent", agent.name)


async def _owner(unit: Unit, spec: AgentSpec) -> str | None:
    """Row id of who answers for an agent. Raises `Refused("validation")` naming the agent."""
    if spec.owner is None:
        return None
    person = await people.by_email(unit, spec.owner)
    if person is None or not person.active:
        raise Refused("validation", f"agents: {spec.name}: there is no active person {spec.owner}.")
    return person.id


async def _rules(work: Work, unit: Unit, outcome: Outcome) -> None:
    """Rules, tests and the default effect: one version for all of it."""
    document = work.document
    version, known = await rulesets.in_force(unit)
    before = {rule.id: msgspec.structs.replace(rule, revision=0) for rule in known.rules}
    kept = dict(before)
    for spec in unique(document.rules or (), "rules", lambda one: one.id):
        kept[spec.id] = rule_of(spec)
    if work.prune and document.rules is not None:
        named = {spec.id for spec in document.rules}
        kept = {key: rule for key, rule in kept.items() if key in named or is_switch(rule)}
    tests = known.tests if document.tests is None else tuple(map(test_in, document.tests))
    default = (document.options.default_effect if document.options else None) or known.default
    await _note_rules(work, unit, outcome, before, kept)
    if tests != known.tests:
        outcome.add("change", "tests", "tests", f"{len(tests)} tests")
    if default != known.default:
        outcome.add("change", "options", "default_effect", default)
    if (kept, tests, default) != (before, known.tests, known.default):
        view = work.services.fleet.view(unit.tenant)
        content = RuleSet(tuple(kept.values()), tests, default)
        await publish(unit, view, work.actor, content, note="governance file", base=version)


async def _note_rules(
    work: Work, unit: Unit, outcome: Outcome, before: Mapping[str, Rule], after: Mapping[str, Rule]
) -> None:
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        verb = "add" if old is None else "remove" if new is None else "change"
        await record(unit, work.actor, f"rules.{verb}", key, old.effect if old else "", new.effect if new else "")
        outcome.add(verb, "rule", key, new.effect if new else "")


async def _upstreams(work: Work, unit: Unit, outcome: Outcome) -> None:
    specs = unique(work.document.upstreams or (), "upstreams", lambda one: one.name)
    for spec in specs:
        await _upstream(work, unit, outcome, spec)
    if work.prune and work.document.upstreams is not None:
        for upstream in await everything(upstreams.page, unit):
            if upstream.name not in {spec.name for spec in specs}:
                await delete(unit, work.actor, upstream)
                outcome.touched.append(upstream)
                outcome.add("remove", "upstream", upstream.name)


async def _upstream(work: Work, unit: Unit, outcome: Outcome, spec: UpstreamSpec) -> None:
    wanted = new_upstream(work, spec)
    before = await upstreams.by_name(unit, spec.name)
    if before is None:
        await insert(work.services, unit, work.actor, create(work.services, unit.tenant, wanted), None)
        outcome.add("add", "upstream", spec.name)
        return
    change = UpstreamChange(
        wanted.url, None if wanted.stdio else wanted.transport, wanted.stdio, wanted.auth, wanted.allow_private,
        wanted.enabled, wanted.timeout_s, wanted.review, wanted.trust_below, wanted.labels,
    )  # fmt: skip
    after = await replace(work.services, unit, work.actor, before, revise(work.services, before, change))
    if after is not before:
        sent_back = "" if after.identity == before.identity else "its tools go back to review"
        outcome.add("change", "upstream", spec.name, sent_back)
        outcome.touched.append(after)


def new_upstream(work: Work, spec: UpstreamSpec) -> NewUpstream:
    """A file's upstream with its secrets filled in. Raises `Refused("validation")`."""
    stdio = None
    if spec.stdio is not None:
        plain = {name: value for name, value in spec.stdio.env.items() if isinstance(value, str)}
        sealed = {name: work.secret(value) for name, value in spec.stdio.env.items() if isinstance(value, SecretRef)}
        stdio = NewStdio(spec.stdio.command, spec.stdio.args, plain, sealed, spec.stdio.cwd)
    given = spec.auth or AuthSpec()
    secret = None if given.secret is None else work.secret(given.secret)
    auth = NewAuth(
        given.mode, secret, given.header, given.scheme, given.kind, given.client_id, given.issuer, given.scopes,
        given.writes, given.provider,
    )  # fmt: skip
    return NewUpstream(
        spec.name, spec.url, spec.transport, stdio, auth, spec.allow_private, spec.enabled, spec.timeout_s,
        spec.review, spec.trust_below, spec.labels,
    )  # fmt: skip


def unique(specs: tuple[SpecT, ...], section: str, key: Callable[[SpecT], str]) -> tuple[SpecT, ...]:
    """The specs themselves. Raises `Refused("validation")` when two have the same key."""
    seen: set[str] = set()
    for spec in specs:
        if key(spec) in seen:
            raise Refused("validation", f"{section}: `{key(spec)}` stands there twice.")
        seen.add(key(spec))
    return specs


async def everything(page: Callable[..., Awaitable[tuple[RowT, ...]]], unit: Unit, **wanted: object) -> list[RowT]:
    """All rows of an aggregate, page by page; rows need an `id`."""
    found: list[RowT] = []
    after: str | None = None
    while True:
        rows = await page(unit, after, 1000, **wanted)
        found.extend(rows)
        if len(rows) < 1000:
            return found
        after = rows[-1].id
