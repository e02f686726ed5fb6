"""The one transaction.

The person is locked first and everything else follows, so whatever is issued at the same moment waits and finds them
gone. Nothing is opened: it works while the keys are away. Fail closed: an error anywhere undoes all of it; the last
admin is not ended by mistake.
"""

import msgspec

from callgate import clock, ids
from callgate.credentials.revoking import prepared
from callgate.errors import Refused
from callgate.identity.leaving import end_access
from callgate.identity.people import keep_an_admin
from callgate.identity.recording import record
from callgate.model.approval import CANCELLED
from callgate.model.caller import Actor
from callgate.model.grant import Grant
from callgate.model.offboarding import AgentLeft, Offboarding, Revocation, Summary
from callgate.model.person import Person
from callgate.store import agents, approvals, grants, oauth, offboarding, people, signin, tokens, upstreams
from callgate.store.unit import Unit


async def preview(unit: Unit, person: Person, heir: Person | None) -> Summary:
    """What would be ended. Changes nothing."""
    known = {one.id: one.name for one in await upstreams.page(unit, limit=1000)}
    held = await grants.of_person(unit, person.id)
    return Summary(
        len(await signin.sessions_of(unit, person.id)),
        len(await oauth.authorizations_of(unit, person.id)),
        await tokens.count_open(unit, person.id, clock.now()),
        await approvals.count_pending(unit, person.id),
        await signin.account(unit, person.id) is not None,
        tuple(AgentLeft(one.name, heir.email if heir else None) for one in await agents.owned_by(unit, person.id)),
        tuple(sorted(known.get(one.upstream, one.upstream) for one in held)),
    )


async def leave(
    unit: Unit, actor: Actor, person: Person, *, heir: Person | None = None, cause: str = "asked"
) -> Offboarding | None:  # fmt: skip
    """End everything of a person; None when they are gone already and nothing was left.

    `heir` gets the agents that they answered for; without one these are stopped. Raises `Refused`: last_admin,
    validation.
    """
    if heir is not None and (not heir.active or heir.id == person.id):
        raise Refused("validation", "Agents can be given to another person who is active.")
    now = clock.now()
    known = await people.locked_to_change(unit, person.id)
    if known is None:
        raise Refused("not_found", "There is no such person.")
    await keep_an_admin(unit, actor, known)
    if known.active:
        await people.update_one(unit, msgspec.structs.replace(known, active=False))
        await record(unit, actor, "people.deactivate", person.id, "active", "inactive")
    ended = await end_access(unit, person.id, "left", issued_too=True)
    id_ = ids.new_id("off")
    summary = Summary(
        ended.sessions, ended.authorizations, ended.tokens,
        await approvals.withdraw_of(unit, person.id, CANCELLED),
        await signin.drop_account(unit, person.id),
        await _agents(unit, actor, person, heir),
        await _grants(unit, person, id_),
    )  # fmt: skip
    if not known.active and summary == Summary():
        return None
    one = Offboarding(id_, person.id, actor.id, now, person.email, cause, summary)
    await offboarding.add(unit, one)
    return one


async def _agents(unit: Unit, actor: Actor, person: Person, heir: Person | None) -> tuple[AgentLeft, ...]:
    left = []
    for agent in await agents.owned_by(unit, person.id):
        changed = (
            msgspec.structs.replace(agent, owner=heir.id) if heir is not None
            else msgspec.structs.replace(agent, owner=None, active=False)
        )  # fmt: skip
        await agents.update_one(unit, changed)
        await record(unit, actor, "agents.change", agent.id, "owned", "given" if heir is not None else "stopped")
        left.append(AgentLeft(agent.name, heir.email if heir is not None else None))
    return tuple(left)


async def _grants(unit: Unit, person: Person, id_: str) -> tuple[str, ...]:
    held = await grants.to_end(unit, person.id)
    names = [await outbox_entry(unit, one, id_) for one in held]
    await grants.remove(unit, person.id)  # with the connections under way
    return tuple(sorted(names))


async def outbox_entry(unit: Unit, grant: Grant, id_: str | None) -> str:
    """Have a vendor told that a grant is over; returns the upstream's name. The grant itself is ended by the caller."""
    upstream = await upstreams.get(unit, grant.upstream)
    client = await grants.client(unit, grant.upstream, grant.facts.issuer)
    row, now = ids.new_id("rev"), clock.now()
    state, answer, blob = prepared(grant, upstream, client)
    name = upstream.name if upstream is not None else grant.upstream
    await offboarding.enqueue(
        unit, Revocation(row, unit.tenant, grant.person, grant.upstream, name, state, answer, now, 0, now, id_, blob)
    )
    return name
