"""Who calls what, for trials: people and tools of now in the place of names and recorded ids."""

from collections.abc import Callable, Iterable

from callgate import clock
from callgate.errors import Refused
from callgate.fleet.snapshot import Snapshot
from callgate.model.caller import Caller
from callgate.model.definition import Definition
from callgate.model.entry import Entry
from callgate.model.person import Person
from callgate.model.ruleset import RuleTest
from callgate.policy.facts import Facts
from callgate.store import people
from callgate.store.unit import Unit
from callgate.wire import jsonrpc

METHOD = "tools/call"


def tool_of(view: Snapshot, public: str) -> Definition:
    """A tool by its public name, trusted or not. Raises `Refused("not_found")`."""
    for one in view.definitions.values():
        if one.kind == "tool" and one.public_name == public:
            return one
    raise Refused("not_found", "There is no tool of this name; see `callgate tools list`.")


async def person_of(unit: Unit, email: str) -> Person:
    """A person by address. Raises `Refused("not_found")`."""
    person = await people.by_email(unit, email)
    if person is None:
        raise Refused("not_found", f"There is no person with the address {email}.")
    return person


def caller_of(person: Person, agent: str | None = None, client: str | None = None) -> Caller:
    """A person as one who calls."""
    return Caller(
        person.tenant, person.id, person.email, person.roles, person.teams, agent or None, client or None, token=""
    )  # fmt: skip


async def finder(
    unit: Unit, view: Snapshot, tests: Iterable[RuleTest]
) -> Callable[[RuleTest], tuple[Caller, Facts] | str]:
    """Who calls what in each of these tests, or what of it does not exist."""
    known = {test.person: await people.by_email(unit, test.person) for test in tests if test.person}

    def find(test: RuleTest) -> tuple[Caller, Facts] | str:
        person = known.get(test.person) if test.person else Person("", unit.tenant, "", test.roles, test.teams)
        if person is None:
            return f"there is no person with the address {test.person}"
        try:
            tool = tool_of(view, test.tool)
        except Refused:
            return f"there is no tool {test.tool}"
        given = None if test.arguments is None else jsonrpc.encoded(test.arguments)
        facts = Facts(view.upstreams[tool.upstream], tool, METHOD, clock.now_us(), given)
        return caller_of(person, test.agent, test.client), facts

    return find


def replayed(view: Snapshot, everybody: dict[str, Person]) -> Callable[[Entry], tuple[Caller, Facts] | None]:
    """Who called what in a recorded call, as they are now; None where something is gone."""

    def find(entry: Entry) -> tuple[Caller, Facts] | None:
        person, tool = everybody.get(entry.person or ""), view.definitions.get(entry.definition or "")
        if person is None or tool is None or tool.upstream not in view.upstreams:
            return None
        facts = Facts(view.upstreams[tool.upstream], tool, METHOD, entry.at, None)
        return caller_of(person, entry.agent, entry.client), facts

    return find
