"""Resource /risks: what the scanner saw in the definitions of now, and who let it stand.

A finding belongs to one exact content: an acknowledgement ends with it, and with the version of the rule.
"""

from collections.abc import Mapping, Sequence

import msgspec

from callgate import clock
from callgate.control.beside import emails
from callgate.control.fields import After, Limit, LongText, PublicName, Severity, Slug
from callgate.control.operations import Asked, Nothing, Operation, Page, page_of
from callgate.control.views import FindingView, clean, finding_view
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.definition import Definition
from callgate.model.finding import SEVERITIES
from callgate.store import definitions, findings, upstreams
from callgate.store.findings import Kept, Wanted
from callgate.store.reviews import locked
from callgate.store.unit import Unit


class RisksQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of findings: of one upstream or tool, at least this severe. With `acknowledged` those alone that somebody
    let stand, without it only risks."""

    after: After | None = None
    limit: Limit = 100
    upstream: Slug | None = None
    tool: PublicName | None = None
    severity: Severity = "info"
    acknowledged: bool = False


class Acknowledgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a finding may stand."""

    note: LongText = ""


class RiskView(FindingView, frozen=True, rename={"cls": "class"}):
    """A finding with what it is about: the definition's kind, public name, row id and hash."""

    kind: str
    name: str
    upstream: str
    status: str
    definition: str
    full: str


class Rescanned(msgspec.Struct, frozen=True):
    """What looking at everything again brought: findings that nobody has seen before, and how many are gone."""

    rules: str
    scanned: int
    raised: list[RiskView]
    gone: int


class JudgedView(msgspec.Struct, frozen=True):
    """What a round of questions to the outside judge brought: how many were asked, what nobody has seen before, why it
    stopped early ("" where it did not), and how many definitions still wait."""

    judge: str
    asked: int
    raised: list[RiskView]
    reason: str
    left: int


async def _views(unit: Unit, found: Sequence[Kept]) -> list[RiskView]:
    about = {one.id: one for one in await definitions.some(unit, {one.definition for one in found})}
    names = await upstreams.names_of(unit, {one.upstream for one in about.values()})
    people = await emails(unit, {one.acked_by for one in found if one.acked_by is not None})
    return [_view(one, about[one.definition], names, people) for one in found if one.definition in about]


def _view(kept: Kept, about: Definition, names: Mapping[str, str], people: Mapping[str, str]) -> RiskView:
    found = finding_view(kept, people)
    members = {name: getattr(found, name) for name in found.__struct_fields__}
    return RiskView(
        **members, kind=about.kind, name=clean(about.public_name), upstream=names.get(about.upstream, ""),
        status=about.status, definition=about.id, full=kept.full,
    )  # fmt: skip


async def list_risks(asked: Asked[RisksQuery, None]) -> Page[RiskView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        upstream = tool = None
        if query.upstream is not None:
            known = await upstreams.by_name(unit, query.upstream)
            if known is None:
                return Page([])
            upstream = known.id
        if query.tool is not None:
            named = await definitions.by_public_name(unit, "tool", query.tool)
            if named is None:
                return Page([])
            tool = named.id
        severities = SEVERITIES[SEVERITIES.index(query.severity) :]
        wanted = Wanted(upstream, severities, query.acknowledged, tool)
        items = await _views(unit, await findings.page(unit, query.after, query.limit + 1, wanted))
    return page_of(items, query.limit, lambda one: one.id)


async def _find(unit: Unit, risk_id: str) -> tuple[Definition, Kept]:
    definition, _, key = risk_id.partition(".")
    about = await definitions.get(unit, definition)
    if about is not None:
        for kept in (await findings.of_contents(unit, {about.id: about.full})).get(about.id, ()):
            if kept.key == key:
                return about, kept
    raise Refused("not_found", "There is no such finding in what is offered now; see `callgate risks list`.")


async def get_risk(asked: Asked[Nothing, None]) -> RiskView:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        _, kept = await _find(unit, asked.path["id"])
        return (await _views(unit, (kept,)))[0]


async def acknowledge(asked: Asked[Nothing, Acknowledgement]) -> RiskView:
    async with asked.services.db.unit(asked.tenant) as unit:
        about, kept = await _find(unit, asked.path["id"])
        about = await locked(unit, about.id)  # an observation must not bring another content meanwhile
        if about.full != kept.full:
            raise Refused("stale_hash")
        by = (asked.actor.id, clock.now(), asked.body.note)
        weight = await findings.acknowledge(unit, about.id, kept.full, [kept.key], by)
        await findings.weigh(unit, {about.id: weight})
        await record(unit, asked.actor, "risks.ack", about.id, kept.finding.severity, weight.risk)
        _, kept = await _find(unit, asked.path["id"])
        view = (await _views(unit, (kept,)))[0]
    await asked.services.seen(asked.tenant)
    return view


async def rescan(asked: Asked[Nothing, None]) -> Rescanned:
    scans = asked.services.scans
    report = await scans.rescan(asked.tenant)
    async with asked.services.db.unit(asked.tenant) as unit:
        await record(unit, asked.actor, "risks.rescan", asked.tenant, after=scans.version)
        raised = await _views(unit, report.raised)
    return Rescanned(scans.version, report.scanned, raised, report.gone)


async def judge(asked: Asked[Nothing, None]) -> JudgedView:
    judge = asked.services.judge
    if judge is None:
        raise Refused("conflict", "No outside judge is set; give CALLGATE_JUDGE_URL and CALLGATE_JUDGE_MODEL.")
    done = await judge.judge(asked.tenant)
    async with asked.services.db.unit(asked.tenant) as unit:
        await record(unit, asked.actor, "risks.judge", asked.tenant, after=judge.mark)
        raised = await _views(unit, done.raised)
    return JudgedView(judge.mark, done.asked, raised, clean(done.reason), done.left)


OPERATIONS = (
    Operation("GET", "/risks", "List what the scanner saw.", list_risks, Page[RiskView], query=RisksQuery),
    Operation("GET", "/risks/{id}", "One finding.", get_risk, RiskView),
    Operation(
        "POST", "/risks/{id}/ack", "Let a finding stand.", acknowledge, RiskView, body=Acknowledgement,
        errors=("stale_hash",),
    ),
    Operation("POST", "/risks/judge", "Ask the outside judge about what it has not seen.", judge, JudgedView),
    Operation("POST", "/risks/rescan", "Look at every definition again.", rescan, Rescanned),
)  # fmt: skip
