"""Resource /approvals: calls that wait for a person, and the answers.

Whoever may answer sees the exact arguments, for as long as they are kept; reviewers, admins and auditors see the rest.
Fail closed: nobody answers for their own call, a member only where a rule names a team of theirs, and one answer is one
person's.
"""

import json
from typing import Any, Literal

import msgspec

from callgate import clock
from callgate.control.fields import Duration, Limit, RowId, Title, seconds
from callgate.control.operations import Asked, Nothing, Operation, Page, page_of
from callgate.control.permissions import OPERATOR
from callgate.control.views import iso
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.approval import PENDING, Approval, Vote, eligible
from callgate.model.caller import Actor
from callgate.model.person import REVIEWING
from callgate.store import approvals as rows
from callgate.store import definitions, people, upstreams
from callgate.store.unit import Unit

_SHOWN = 64 * 1024  # characters of arguments that are shown; a longer text says so
_LOOKERS = frozenset({"reviewer", "admin", "auditor"})


class ApprovalsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of approvals, by id."""

    after: RowId | None = None
    limit: Limit = 100
    state: Literal["pending", "approved", "denied", "expired", "cancelled", "used", "void"] | None = None


class Approve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`reuse_for`: the same call with the same arguments may be made again for so long, such as 10m."""

    reason: Title
    reuse_for: Duration | None = None


class Deny(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The agent is told the reason."""

    reason: Title


class NeedView(msgspec.Struct, frozen=True):
    """What one rule asks for."""

    rule: str
    title: str
    reviewers: tuple[str, ...]
    quorum: int
    escalate_to: tuple[str, ...]


class VoteView(msgspec.Struct, frozen=True):
    """One reviewer's answer."""

    by: str
    approve: bool
    reason: str
    at: str | None


class ApprovalView(msgspec.Struct, frozen=True):
    """One parked call. `arguments` is their exact JSON text, for those who may answer; null for others and once it is
    decided."""

    id: str
    state: str
    person: str
    agent: str | None
    client: str | None
    upstream: str
    tool: str
    fingerprint: str
    ruleset: int
    needs: list[NeedView]
    votes: list[VoteView]
    call: str
    created: str | None
    expires: str | None
    escalated: bool
    decided: str | None
    reuse_until: str | None
    uses: int
    may_answer: bool
    arguments: str | None = None
    arguments_cut: bool = False


async def list_approvals(asked: Asked[ApprovalsQuery, None]) -> Page[ApprovalView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        now = await unit.now()
        found = await rows.page(unit, query.after, query.limit + 1, state=query.state)
        seen = [one for one in found if one.state != PENDING or one.expires > now or query.state is None]
        who = await _voter(unit, asked.actor)
        views = [await _view(unit, one, who) for one in seen if _visible(one, who, asked.actor)]
    return page_of(views, query.limit, lambda one: one.id)


async def get_approval(asked: Asked[Nothing, None]) -> ApprovalView:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found, who = await _find(unit, asked)
        view = await _view(unit, found, who)
    if not view.may_answer:
        return view
    raw = await asked.services.approvals.arguments(asked.tenant, found.id)
    text = None if raw is None else _text(raw)
    cut = text is not None and len(text) > _SHOWN
    return msgspec.structs.replace(view, arguments=text[:_SHOWN] if text is not None else None, arguments_cut=cut)


async def approve(asked: Asked[Nothing, Approve]) -> ApprovalView:
    reuse = 0.0 if asked.body.reuse_for is None else seconds(asked.body.reuse_for)
    return await _answer(asked, asked.body.reason, approving=True, reuse=reuse)


async def deny(asked: Asked[Nothing, Deny]) -> ApprovalView:
    return await _answer(asked, asked.body.reason, approving=False, reuse=0.0)


async def _answer(asked: Asked[Nothing, Any], reason: str, *, approving: bool, reuse: float) -> ApprovalView:
    async with asked.services.db.unit(asked.tenant) as unit:
        found, who = await _find(unit, asked)
        vote = msgspec.structs.replace(who, approve=approving, reason=reason, at=clock.now())
        if not _may_answer(found, vote):
            raise Refused("forbidden", _why_not(found, vote))
        after = await rows.vote(unit, found.id, vote, reuse)
        verb = "approve" if approving else "deny"
        await record(unit, asked.actor, f"approvals.{verb}", found.id, found.state, after.state)
        return await _view(unit, after, who)


async def _find(unit: Unit, asked: Asked[Nothing, Any]) -> tuple[Approval, Vote]:
    found = await rows.get(unit, asked.path["id"])
    who = await _voter(unit, asked.actor)
    if found is None or not _visible(found, who, asked.actor):
        raise Refused("not_found", "There is no approval of this id.")
    return found, who


async def _voter(unit: Unit, actor: Actor) -> Vote:
    """Who asks, as one who may answer."""
    if actor.kind == OPERATOR:
        return Vote(actor.id, actor.id, True, (), True, "", 0.0)
    person = await people.get(unit, actor.id)
    if person is None:
        raise Refused("forbidden")
    reviewer = bool(REVIEWING & set(person.roles))
    return Vote(person.id, person.email, reviewer, person.teams, True, "", 0.0)


def _may_answer(approval: Approval, vote: Vote) -> bool:
    own = vote.by == approval.person
    return not own and any(eligible(need, approval.escalated, vote) for need in approval.terms.needs)


def _why_not(approval: Approval, vote: Vote) -> str:
    if vote.by == approval.person:
        return "This is your own call; somebody else has to answer."
    teams = sorted({team for need in approval.terms.needs for team in need.reviewers})
    if teams:
        return f"Only people of {', '.join(teams)} may answer this."
    if vote.by.startswith("operator:"):
        return "Several people have to approve this, and the operator is none: use --url and a reviewer's token."
    return "Only a reviewer or an admin may answer this."


def _visible(approval: Approval, who: Vote, actor: Actor) -> bool:
    return bool(_LOOKERS & set(actor.roles)) or approval.person == who.by or _may_answer(approval, who)


async def _view(unit: Unit, one: Approval, who: Vote) -> ApprovalView:
    person = await people.get(unit, one.person)
    names = await upstreams.names_of(unit, {one.upstream})
    tools = await definitions.names_of(unit, {one.definition})
    needs = [NeedView(n.rule, n.title, n.reviewers, n.quorum, n.escalate_to) for n in one.terms.needs]
    return ApprovalView(
        id=one.id, state=one.state, person=one.person if person is None else person.email, agent=one.agent,
        client=one.client, upstream=names.get(one.upstream, one.upstream),
        tool=tools.get(one.definition, one.definition), fingerprint=one.fingerprint, ruleset=one.ruleset, needs=needs,
        votes=[VoteView(vote.name, vote.approve, vote.reason, iso(vote.at)) for vote in one.votes],
        call=one.call, created=iso(one.created), expires=iso(one.expires), escalated=one.escalated,
        decided=iso(one.decided), reuse_until=iso(one.reuse_until), uses=one.uses,
        may_answer=one.state == PENDING and _may_answer(one, who) and all(vote.by != who.by for vote in one.votes),
    )  # fmt: skip


def _text(raw: bytes) -> str:
    """The arguments as ASCII JSON, so that nothing in them can pass for something else on a screen."""
    try:
        return json.dumps(json.loads(raw, object_pairs_hook=_pairs), indent=2)
    except (ValueError, RecursionError):
        return json.dumps(raw.decode("utf-8", "backslashreplace"))


def _pairs(pairs: list[tuple[str, object]]) -> object:
    """An object; one that has a member twice is shown as the pairs that it is."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else [list(pair) for pair in pairs]


OPERATIONS = (
    Operation("GET", "/approvals", "List parked calls.", list_approvals, Page[ApprovalView], query=ApprovalsQuery),
    Operation("GET", "/approvals/{id}", "One parked call, with its arguments.", get_approval, ApprovalView),
    Operation(
        "POST", "/approvals/{id}/approve", "Let a call go on.", approve, ApprovalView, body=Approve,
        errors=("forbidden", "conflict"),
    ),
    Operation(
        "POST", "/approvals/{id}/deny", "Refuse a call.", deny, ApprovalView, body=Deny,
        errors=("forbidden", "conflict"),
    ),
)  # fmt: skip
