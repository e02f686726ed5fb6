"""Resource /policies: what the rules as a whole would do, and why."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from callgate import clock
from callgate.control.fields import CallId, Email, PublicName, Slug, Text
from callgate.control.operations import Asked, Nothing, Operation
from callgate.control.publishing import compiled
from callgate.control.reconcile import everything
from callgate.control.trying import caller_of, person_of, replayed, tool_of
from callgate.control.views import clean
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.model.definition import Definition
from callgate.model.upstream import SHARED, Upstream
from callgate.policy.explain import Verdict, explain
from callgate.policy.facts import Facts, annotations
from callgate.policy.lint import Inventory, Reach, lint
from callgate.policy.trial import decided
from callgate.store import agents, audit, people, rulesets
from callgate.wire import jsonrpc


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call that somebody might make. Without `arguments` the question is what a list would show."""

    person: Email
    tool: PublicName
    arguments: dict[str, Any] | None = None
    agent: Slug | None = None
    client: Text | None = None
    draft: Slug | None = None


class VerdictView(msgspec.Struct, frozen=True):
    """One rule: `outcome` is `matched`, `missed`, `failed` (it refuses the call) or `unknown` (arguments or the
    answer would tell);
    `missed` names what did not match, and `almost` says that it was one thing alone."""

    rule: str
    title: str
    effect: str
    outcome: str
    missed: tuple[str, ...]
    almost: bool
    why: str


class Explanation(msgspec.Struct, frozen=True):
    """The decision with the rule that names it (null: the default), and every rule with its verdict. `callable` says
    whether the tool is trusted at all, whatever the rules say."""

    decision: str
    rule: str | None
    message: str
    ruleset: int
    callable: bool
    redacted_by: list[str]
    rules: list[VerdictView]
    limited_by: list[str]
    shadow: str


def _view(one: Verdict) -> VerdictView:
    rule = one.rule
    return VerdictView(rule.id, rule.title, rule.effect, one.outcome, one.missed, one.almost, clean(one.why))


async def explained(asked: Asked[Nothing, Question]) -> Explanation:
    body = asked.body
    view = asked.services.fleet.view(asked.tenant)
    rules, every = view.rules, tuple(view.raw_rules.values())
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        caller = caller_of(await person_of(unit, body.person), body.agent, body.client)
        if body.draft is not None:
            content = (await rulesets.draft(unit, body.draft)).content
            rules, every = compiled(content, 0), content.rules
    tool = tool_of(view, body.tool)
    given = None if body.arguments is None else jsonrpc.encoded(body.arguments)
    facts = Facts(view.upstreams[tool.upstream], tool, "tools/call", clock.now_us(), given)
    decision = decided(rules, caller, facts)
    return Explanation(
        decision.effect, decision.rule, decision.message, decision.ruleset, tool.callable,
        [rule.id for rule in decision.redact], [_view(one) for one in explain(every, caller, facts)],
        [rule.id for rule in decision.limits], decision.shadow,
    )  # fmt: skip


class Retest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recorded call that rules blocked or parked. `draft`: null for the rules in force."""

    call: CallId
    draft: Slug | None = None


class Retested(msgspec.Struct, frozen=True):
    """What was decided then, and what would be decided now with the same arguments. Nothing is sent."""

    call: str
    before: str | None
    before_rule: str | None
    decision: str
    rule: str | None
    message: str
    rules: list[VerdictView]


async def retested(asked: Asked[Nothing, Retest]) -> Retested:
    body, view = asked.body, asked.services.fleet.view(asked.tenant)
    given = await asked.services.kept.get(asked.tenant, body.call)
    if given is None:
        raise Refused(
            "not_found",
            "No arguments are kept of this call: it was not blocked by a rule, its time is over, or nothing is kept "
            "(`callgate options set --keep-arguments 7d`).",
        )
    await asked.services.recorder.flush()
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        entry = next(iter(await audit.by_ids(unit, [body.call])), None)
        person = None if entry is None else await people.get(unit, entry.person or "")
        rules, every = view.rules, tuple(view.raw_rules.values())
        if body.draft is not None:
            content = (await rulesets.draft(unit, body.draft)).content
            rules, every = compiled(content, 0), content.rules
    found = None if entry is None or person is None else replayed(view, {person.id: person})(entry)
    if entry is None or found is None:
        raise Refused("not_found", "The person, the tool or the server of this call is gone.")
    caller, facts = found[0], msgspec.structs.replace(found[1], arguments=given)
    decision = decided(rules, caller, facts)
    verdicts = [_view(one) for one in explain(every, caller, facts)]
    return Retested(body.call, entry.decision, entry.rule, decision.effect, decision.rule, decision.message, verdicts)


class OddityView(msgspec.Struct, frozen=True):
    """One oddity: `kind` is `matches_nothing`, `swallowed`, `shadowed`, `redundant`, `contradictory`, `may_fail` or
    `unreadable`; `other` is another rule that it is about, too."""

    rule: str
    kind: str
    sentence: str
    other: str | None


class Linted(msgspec.Struct, frozen=True):
    """What is odd about the rules of now."""

    ruleset: int
    oddities: list[OddityView]


async def linted(asked: Asked[Nothing, None]) -> Linted:
    view = asked.services.fleet.view(asked.tenant)
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        everybody = await everything(people.page, unit, active=True)
        there = Inventory(
            frozenset(one.name for one in view.upstreams.values()),
            tuple(_named(view.upstreams, one) for one in view.definitions.values() if one.kind == "tool"),
            frozenset(one.email for one in everybody),
            frozenset(team for one in everybody for team in one.teams),
            frozenset([one.name for one in await everything(agents.page, unit)]),
            frozenset(label for one in view.upstreams.values() for label in one.labels),
            _shared(view),
        )
    found = await asyncio.to_thread(lint, view.rules.rules, there)
    views = [OddityView(one.rule, one.kind, clean(one.sentence), one.other) for one in found]
    return Linted(view.rules.version, views)


def _shared(view: Snapshot) -> tuple[Reach, ...]:
    """Tools that may change something, at upstreams that a shared account acts for everybody."""
    found = []
    for one in view.definitions.values():
        upstream = view.upstreams.get(one.upstream)
        shared = upstream is not None and upstream.auth_mode == SHARED and not upstream.auth.writes
        if one.kind == "tool" and shared and annotations(one.offered).get("readOnlyHint") is not True:
            found.append(Reach(view.upstreams[one.upstream].name, one.name))
    return tuple(found)


def _named(upstreams: Mapping[str, Upstream], tool: Definition) -> tuple[str, str, str, frozenset[str]]:
    upstream = upstreams.get(tool.upstream)
    try:
        required = msgspec.json.decode(tool.offered)["inputSchema"]["required"]
        names = frozenset(name for name in required if isinstance(name, str))
    except (msgspec.DecodeError, LookupError, TypeError, RecursionError):
        names = frozenset()
    return upstream.name if upstream is not None else "", tool.name, tool.public_name, names


OPERATIONS = (
    Operation("GET", "/policies/lint", "What is odd about the rules.", linted, Linted),
    Operation("POST", "/policies/retest", "Judge a blocked call again.", retested, Retested, body=Retest),
    Operation(
        "POST", "/policies/explain", "Why the rules decide a call as they do.", explained, Explanation, body=Question
    ),
)
