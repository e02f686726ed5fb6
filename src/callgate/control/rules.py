"""Resource /rules: who may call what. A rule is checked by the policy before it is saved."""

from typing import Any

from callgate.control.documents import RuleBody, RuleSpec, rule_in
from callgate.control.operations import Asked, Operation, Page, PageQuery, page_of
from callgate.control.publishing import change
from callgate.control.views import RuleView, rule_view
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.rule import Rule
from callgate.policy.kill import PREFIX, is_switch
from callgate.policy.model import check
from callgate.store import rules as rows
from callgate.store.unit import Unit


def rule_of(spec: RuleSpec) -> Rule:
    """A checked rule. Raises `Refused("validation")`."""
    return plain(check(rule_in(spec, spec.id)))


def plain(rule: Rule) -> Rule:
    """The rule itself, which is no kill switch. Raises `Refused("validation")`."""
    if is_switch(rule):
        raise Refused("validation", f"`{PREFIX}…` names kill switches: use `callgate kill` and `callgate unkill`.")
    return rule


async def find(unit: Unit, rule_id: str) -> Rule:
    """The rule of an id. Raises `Refused("not_found")`."""
    rule = await rows.get(unit, rule_id)
    if rule is None:
        raise Refused("not_found", "There is no rule of this id.")
    return rule


async def list_rules(asked: Asked[PageQuery, None]) -> Page[RuleView]:
    query = asked.query
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found = await rows.page(unit, query.after, query.limit + 1)
    return page_of([rule_view(one) for one in found], query.limit, lambda one: one.id)


async def get_rule(asked: Asked[Any, None]) -> RuleView:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return rule_view(await find(unit, asked.path["id"]))


async def create_rule(asked: Asked[Any, RuleSpec]) -> RuleView:
    rule = rule_of(asked.body)
    view = asked.services.fleet.view(asked.tenant)
    async with asked.services.db.unit(asked.tenant) as unit:
        if await rows.get(unit, rule.id) is not None:
            raise Refused("conflict", f"There is already a rule {rule.id}.")
        await change(unit, view, asked.actor, put=[rule], note=f"added {rule.id}")
        await record(unit, asked.actor, "rules.add", rule.id, after=rule.effect)
    await asked.services.seen(asked.tenant)
    return rule_view(rule)


async def update_rule(asked: Asked[Any, RuleBody]) -> RuleView:
    rule = plain(check(rule_in(asked.body, asked.path["id"])))
    view = asked.services.fleet.view(asked.tenant)
    async with asked.services.db.unit(asked.tenant) as unit:
        before = await find(unit, rule.id)
        await change(unit, view, asked.actor, put=[rule], note=f"changed {rule.id}")
        await record(unit, asked.actor, "rules.change", rule.id, before.effect, rule.effect)
    await asked.services.seen(asked.tenant)
    return rule_view(rule)


async def delete_rule(asked: Asked[Any, None]) -> None:
    view = asked.services.fleet.view(asked.tenant)
    async with asked.services.db.unit(asked.tenant) as unit:
        rule = plain(await find(unit, asked.path["id"]))
        await change(unit, view, asked.actor, remove=[rule.id], note=f"removed {rule.id}")
        await record(unit, asked.actor, "rules.remove", rule.id, before=rule.effect)
    await asked.services.seen(asked.tenant)


OPERATIONS = (
    Operation("GET", "/rules", "List rules.", list_rules, Page[RuleView], query=PageQuery),
    Operation(
        "POST", "/rules", "Add a rule.", create_rule, RuleView, body=RuleSpec, status=201,
        errors=("conflict", "tests_failed"),
    ),
    Operation("GET", "/rules/{id}", "One rule.", get_rule, RuleView),
    Operation("PUT", "/rules/{id}", "Change a rule.", update_rule, RuleView, body=RuleBody, errors=("tests_failed",)),
    Operation("DELETE", "/rules/{id}", "Remove a rule.", delete_rule, None, status=204, errors=("tests_failed",)),
)  # fmt: skip
