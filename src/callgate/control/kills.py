"""Resource /kills: switch off an upstream, an agent, a person or everything, now.

A switch is a deny rule that comes into force at once, past drafts and stored tests, and ends the calls under way.
Fail closed: it takes effect on a replica with the rules, so within the same bound as every change (promise 7).
"""

from typing import Any

import msgspec

from callgate.control.fields import Email, Slug, Title
from callgate.control.operations import Asked, Nothing, Operation
from callgate.control.publishing import change
from callgate.control.rules import find
from callgate.control.trying import person_of
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.rule import Rule
from callgate.policy.kill import is_switch, switch
from callgate.policy.model import check
from callgate.store import agents, rules, upstreams
from callgate.store.unit import Unit


class Kill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to switch off; several are what they have in common. `everything` has to be asked for by name."""

    reason: Title
    upstream: Slug | None = None
    agent: Slug | None = None
    person: Email | None = None
    everything: bool = False


class KillView(msgspec.Struct, frozen=True):
    """One switch. `id` is that of its rule."""

    id: str
    title: str
    reason: str


def _view(rule: Rule) -> KillView:
    return KillView(rule.id, rule.title, rule.description)


async def list_kills(asked: Asked[Nothing, None]) -> list[KillView]:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return [_view(rule) for rule in await rules.everything(unit) if is_switch(rule)]


async def kill(asked: Asked[Nothing, Kill]) -> KillView:
    body = asked.body
    named = (body.upstream, body.agent, body.person)
    if body.everything == any(named):
        raise Refused("validation", "Name an upstream, an agent or a person, or ask for `everything`; not both.")
    async with asked.services.db.unit(asked.tenant) as unit:
        await _exist(unit, body)
        rule = check(switch(body.upstream or "", body.agent or "", (body.person or "").lower(), body.reason))
        view = asked.services.fleet.view(asked.tenant)
        await change(unit, view, asked.actor, put=[rule], note=f"kill: {body.reason}"[:200], untested=True)
        await record(unit, asked.actor, "kills.add", rule.id)
    await asked.services.seen(asked.tenant)
    return _view(rule)


async def _exist(unit: Unit, body: Kill) -> None:
    """A misspelt name would switch off nothing, and look as if it had."""
    if body.upstream is not None and await upstreams.by_name(unit, body.upstream) is None:
        raise Refused("not_found", f"There is no upstream {body.upstream}.")
    if body.agent is not None and await agents.by_name(unit, body.agent) is None:
        raise Refused("not_found", f"There is no agent {body.agent}.")
    if body.person is not None:
        await person_of(unit, body.person)


async def unkill(asked: Asked[Any, None]) -> None:
    async with asked.services.db.unit(asked.tenant) as unit:
        rule = await find(unit, asked.path["id"])
        if not is_switch(rule):
            raise Refused("not_found", "There is no kill switch of this id.")
        view = asked.services.fleet.view(asked.tenant)
        await change(unit, view, asked.actor, remove=[rule.id], note=f"end of {rule.id}", untested=True)
        await record(unit, asked.actor, "kills.remove", rule.id)
    await asked.services.seen(asked.tenant)


OPERATIONS = (
    Operation("GET", "/kills", "List kill switches.", list_kills, list[KillView]),
    Operation("POST", "/kills", "Switch something off, now.", kill, KillView, body=Kill, status=201),
    Operation("DELETE", "/kills/{id}", "End a kill switch.", unkill, None, status=204),
)
