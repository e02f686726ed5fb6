"""Resource /policies: versions of the rule set, drafts of the next one, and trials of either.

Nothing here is in force until it is published, and nothing that is tried is called.
"""

import asyncio
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from callgate import clock
from callgate.control.audit import Time, micros
from callgate.control.documents import RuleSpec, TestSpec, spec_of, test_in, test_spec
from callgate.control.fields import Email, Limit, Slug, Title
from callgate.control.operations import Asked, Nothing, Operation, Page
from callgate.control.publishing import checked, compiled, publish, with_switches
from callgate.control.reconcile import everything
from callgate.control.rules import rule_of
from callgate.control.trying import caller_of, finder, person_of, replayed
from callgate.control.views import iso
from callgate.errors import Refused
from callgate.model.entry import Filter
from callgate.model.ruleset import Draft, RuleSet, Version
from callgate.policy.facts import Facts
from callgate.policy.trial import Failure, Replay, Simulation, decided, failures
from callgate.store import audit, people, rulesets
from callgate.store.unit import Unit

_PAGE = 1000
_MOST_CALLS = 200_000
Number = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]  # what the store takes


class VersionView(msgspec.Struct, frozen=True):
    """One version. `in_force` is true of the newest."""

    version: int
    at: str | None
    actor: str
    note: str
    back_to: int | None
    in_force: bool


class ContentView(msgspec.Struct, frozen=True):
    """A rule set as a file would have it."""

    version: int
    default: str
    rules: list[RuleSpec]
    tests: list[TestSpec]


class DraftView(msgspec.Struct, frozen=True):
    """A draft. `stale` says that another version came into force since it was made; it has to be saved with `rebase`
    before it can be published."""

    name: str
    base: int
    stale: bool
    edition: int
    changed: str | None
    actor: str
    default: str
    rules: list[RuleSpec]
    tests: list[TestSpec]


class DraftChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays; of a new draft it is as in force. `edition` guards against a change by somebody else;
    `rebase` makes the version in force its base."""

    rules: tuple[RuleSpec, ...] | None = None
    tests: tuple[TestSpec, ...] | None = None
    default: str | None = None
    edition: Number | None = None
    rebase: bool = False


class Publish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why: it stands in the list of versions."""

    note: Title


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The version whose content comes back, as a new version."""

    version: Number
    note: Title


class Difference(msgspec.Struct, frozen=True):
    """One rule or test that differs. `action`: add, change, remove; `fields` are those that a change touches."""

    action: str
    kind: str
    id: str
    fields: list[str]


class Compared(msgspec.Struct, frozen=True):
    """What publishing would change."""

    base: int
    in_force: int
    stale: bool
    differences: list[Difference]


class Tested(msgspec.Struct, frozen=True):
    """How many tests there are, and those that fail."""

    tests: int
    failures: list[Failure]


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which recorded calls; without `since`, those of seven days. `draft`: null for the rules in force."""

    draft: Slug | None = None
    since: Time | None = None
    until: Time | None = None


class Simulated(msgspec.Struct, frozen=True):
    """What would be decided otherwise. Names are those of now; `cut` where there were more calls than are looked at."""

    calls: int
    changed: int
    unknown: int
    gone: int
    cut: bool
    by_change: dict[str, int]
    by_rule: dict[str, int]
    by_person: dict[str, int]
    by_tool: dict[str, int]
    unknown_by_rule: dict[str, int]
    examples: list[dict[str, Any]]


class Preview(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As whom. `draft`: null for the rules in force."""

    person: Email
    agent: Slug | None = None
    draft: Slug | None = None


class Seen(msgspec.Struct, frozen=True):
    """One tool as this person would find it. `depends`: arguments would tell."""

    tool: str
    upstream: str
    listed: bool
    decision: str
    rule: str | None
    depends: bool


# -- versions ----------------------------------------------------------------------------------------------------------


class VersionsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of versions, the newest first; `after` is the last one seen."""

    after: Number | None = None
    limit: Limit = 100


async def list_versions(asked: Asked[VersionsQuery, None]) -> Page[VersionView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        now, _ = await rulesets.in_force(unit)
        found = await rulesets.page(unit, query.after, query.limit + 1)
    shown = [_version(one, now) for one in found[: query.limit]]
    return Page(shown, str(shown[-1].version) if len(found) > query.limit else None)


async def get_version(asked: Asked[Nothing, None]) -> ContentView:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        _, content = await rulesets.get(unit, int(asked.path["version"]))
    return _content(int(asked.path["version"]), content)


async def rollback(asked: Asked[Nothing, Rollback]) -> VersionView:
    body = asked.body
    async with asked.services.db.unit(asked.tenant) as unit:
        _, content = await rulesets.get(unit, body.version)
        view = asked.services.fleet.view(asked.tenant)
        found = await publish(unit, view, asked.actor, content, note=body.note, back_to=body.version)
    await asked.services.seen(asked.tenant)
    return _version(found, found.version)


def _version(one: Version, now: int) -> VersionView:
    return VersionView(one.version, iso(one.at), one.actor, one.note, one.back_to, one.version == now)


def _content(version: int, content: RuleSet) -> ContentView:
    return ContentView(
        version, content.default, [spec_of(one) for one in content.rules], [test_spec(one) for one in content.tests]
    )


# -- drafts ------------------------------------------------------------------------------------------------------------


async def list_drafts(asked: Asked[Nothing, None]) -> list[DraftView]:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        now, _ = await rulesets.in_force(unit)
        return [_draft(one, now) for one in await rulesets.drafts(unit)]


async def get_draft(asked: Asked[Nothing, None]) -> DraftView:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        now, _ = await rulesets.in_force(unit)
        return _draft(await rulesets.draft(unit, asked.path["name"]), now)


async def save_draft(asked: Asked[Nothing, DraftChange]) -> DraftView:
    body, name = asked.body, asked.path["name"]
    async with asked.services.db.unit(asked.tenant) as unit:
        now, known = await rulesets.in_force(unit)
        try:
            one = await rulesets.draft(unit, name, lock=True)
        except Refused:
            one = Draft(name, now, 0, 0.0, "", known)
        if body.edition is not None and body.edition != one.edition:
            raise Refused("conflict", f"The draft is at edition {one.edition}, not {body.edition}; look at it again.")
        content = checked(with_switches(_changed(one.content, body), RuleSet()))
        one = msgspec.structs.replace(
            one, content=content, base=now if body.rebase else one.base, changed=clock.now(), actor=asked.actor.id
        )
        return _draft(await rulesets.put_draft(unit, one), now)


def _changed(content: RuleSet, body: DraftChange) -> RuleSet:
    rules = content.rules if body.rules is None else tuple(map(rule_of, body.rules))
    tests = content.tests if body.tests is None else tuple(test_in(one) for one in body.tests)
    return RuleSet(rules, tests, body.default or content.default)


async def discard_draft(asked: Asked[Nothing, None]) -> None:
    async with asked.services.db.unit(asked.tenant) as unit:
        await rulesets.remove_draft(unit, asked.path["name"])


async def publish_draft(asked: Asked[Nothing, Publish]) -> VersionView:
    async with asked.services.db.unit(asked.tenant) as unit:
        one = await rulesets.draft(unit, asked.path["name"], lock=True)
        view = asked.services.fleet.view(asked.tenant)
        found = await publish(unit, view, asked.actor, one.content, note=asked.body.note, base=one.base)
        await rulesets.remove_draft(unit, one.name)
    await asked.services.seen(asked.tenant)
    return _version(found, found.version)


async def compare(asked: Asked[Nothing, None]) -> Compared:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        now, known = await rulesets.in_force(unit)
        one = await rulesets.draft(unit, asked.path["name"])
    before = with_switches(known, RuleSet()).rules
    found = _differences("rule", map(spec_of, before), map(spec_of, one.content.rules))
    found += _differences("test", map(test_spec, known.tests), map(test_spec, one.content.tests))
    if known.default != one.content.default:
        found.append(Difference("change", "default", one.content.default, []))
    return Compared(one.base, now, one.base != now, found)


def _differences(kind: str, before: Iterable[Any], after: Iterable[Any]) -> list[Difference]:
    old, new = {one.id: msgspec.to_builtins(one) for one in before}, {one.id: msgspec.to_builtins(one) for one in after}
    found = [Difference("remove", kind, key, []) for key in sorted(old.keys() - new.keys())]
    for key in sorted(new):
        if key not in old:
            found.append(Difference("add", kind, key, []))
        elif old[key] != new[key]:
            fields = sorted({*old[key], *new[key]})
            touched = [name for name in fields if old[key].get(name) != new[key].get(name)]
            found.append(Difference("change", kind, key, touched))
    return found


def _draft(one: Draft, now: int) -> DraftView:
    content = _content(0, one.content)
    return DraftView(
        one.name, one.base, one.base != now, one.edition, iso(one.changed), one.actor, content.default, content.rules,
        content.tests,
    )  # fmt: skip


# -- trials ------------------------------------------------------------------------------------------------------------


async def _tried(unit: Unit, draft: str | None) -> RuleSet:
    """The content that is tried: of a draft, or what is in force."""
    _, known = await rulesets.in_force(unit)
    return known if draft is None else with_switches((await rulesets.draft(unit, draft)).content, known)


class Which(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`draft`: null for the rules in force."""

    draft: Slug | None = None


async def test(asked: Asked[Nothing, Which]) -> Tested:
    view = asked.services.fleet.view(asked.tenant)
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        content = await _tried(unit, asked.body.draft)
        find = await finder(unit, view, content.tests)
    found = await asyncio.to_thread(failures, compiled(content, 0), content.tests, find)
    return Tested(len(content.tests), list(found))


async def simulate(asked: Asked[Nothing, Range]) -> Simulated:
    body, view = asked.body, asked.services.fleet.view(asked.tenant)
    await asked.services.recorder.flush()
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        content = await _tried(unit, body.draft)
        everybody = {one.id: one for one in await everything(people.page, unit)}
    replay = Replay(compiled(content, 0), replayed(view, everybody))
    wanted = Filter(since=micros(body.since or "7d"), until=micros(body.until), kind="call")
    after: str | None = None
    cut = False
    while True:
        async with asked.services.db.unit(asked.tenant, write=False) as unit:
            page = await audit.page(unit, after, _PAGE, wanted=wanted)
        await asyncio.to_thread(replay.add, page)
        cut = replay.found.calls >= _MOST_CALLS
        if len(page) < _PAGE or cut:
            break
        after = audit.cursor(page[-1])
    names = {key: one.email for key, one in everybody.items()} | {k: d.public_name for k, d in view.definitions.items()}
    return _simulated(replay.found, names, cut=cut)


def _simulated(found: Simulation, names: dict[str, str], *, cut: bool) -> Simulated:
    def named(counts: dict[str, int]) -> dict[str, int]:
        return {names.get(key, key): number for key, number in sorted(counts.items(), key=lambda one: -one[1])}

    examples = [msgspec.to_builtins(one) for one in found.examples]
    for one in examples:
        one["person"], one["tool"] = names.get(one["person"], one["person"]), names.get(one["tool"], one["tool"])
    return Simulated(
        found.calls, found.changed, found.unknown, found.gone, cut, dict(found.by_change), named(found.by_rule),
        named(found.by_person), named(found.by_tool), named(found.unknown_by_rule), examples,
    )  # fmt: skip


async def preview(asked: Asked[Nothing, Preview]) -> list[Seen]:
    body, view = asked.body, asked.services.fleet.view(asked.tenant)
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        content = await _tried(unit, body.draft)
        caller = caller_of(await person_of(unit, body.person), body.agent)
    rules, found = compiled(content, 0), []
    for tool in sorted(view.definitions.values(), key=lambda one: one.public_name):
        upstream = view.upstreams.get(tool.upstream)
        if tool.kind != "tool" or upstream is None:
            continue
        facts = Facts(upstream, tool, "tools/call", clock.now_us(), None)
        decision = decided(rules, caller, facts)
        matching = rules.matching(caller, upstream.name, tool.name, tool.public_name)
        depends = any(one.condition is not None and one.condition.members for one in matching)
        listed = tool.callable and upstream.enabled and decision.effect != "deny"
        found.append(Seen(tool.public_name, upstream.name, listed, decision.effect, decision.rule, depends))
    return found


_PUBLISHING = ("conflict", "tests_failed")
OPERATIONS = (
    Operation(
        "GET", "/policies/versions", "Versions of the rules.", list_versions, Page[VersionView], query=VersionsQuery
    ),
    Operation("GET", "/policies/versions/{version}", "The rules of one version.", get_version, ContentView),
    Operation(
        "POST", "/policies/rollback", "Bring a version back.", rollback, VersionView, body=Rollback, errors=_PUBLISHING
    ),
    Operation("GET", "/policies/drafts", "List drafts.", list_drafts, list[DraftView]),
    Operation("GET", "/policies/drafts/{name}", "One draft.", get_draft, DraftView),
    Operation(
        "PUT", "/policies/drafts/{name}", "Make or change a draft.", save_draft, DraftView, body=DraftChange,
        errors=("conflict",),
    ),
    Operation("DELETE", "/policies/drafts/{name}", "Discard a draft.", discard_draft, None, status=204),
    Operation("GET", "/policies/drafts/{name}/diff", "What publishing it would change.", compare, Compared),
    Operation(
        "POST", "/policies/drafts/{name}/publish", "Put a draft into force.", publish_draft, VersionView, body=Publish,
        errors=_PUBLISHING,
    ),
    Operation("POST", "/policies/test", "Run the stored tests.", test, Tested, body=Which),
    Operation(
        "POST", "/policies/simulate", "What recorded calls would become.", simulate, Simulated, body=Range
    ),
    Operation("POST", "/policies/preview", "The tools as one person finds them.", preview, list[Seen], body=Preview),
)  # fmt: skip
