"""A rule set: the rules of one tenant at one version, with the tests that they have to pass and the default effect."""

from typing import Any

import msgspec

from callgate.model.rule import Rule


class RuleTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call and the decision that the rules have to make of it.

    `person` is the e-mail of a person, or "" for somebody with just these roles and teams. Without `arguments` the
    question is what a list shows. `rule` is the id that has to name the decision, "" = whichever.
    """

    id: str
    tool: str  # public name
    expect: str
    person: str = ""
    roles: tuple[str, ...] = ("member",)
    teams: tuple[str, ...] = ()
    agent: str = ""
    client: str = ""
    arguments: dict[str, Any] | None = None
    rule: str = ""


class RuleSet(msgspec.Struct, frozen=True):
    """What is published as one version. `default` decides on a trusted tool that no rule matches: allow or deny."""

    rules: tuple[Rule, ...] = ()
    tests: tuple[RuleTest, ...] = ()
    default: str = "allow"


class Version(msgspec.Struct, frozen=True):
    """One version as it was published. `at` in seconds since 1970; `back_to` is the version that it brought back."""

    version: int
    at: float
    actor: str
    note: str
    back_to: int | None = None


class Draft(msgspec.Struct, frozen=True):
    """A rule set in the making, from the version `base`. `edition` rises with each change."""

    name: str
    base: int
    edition: int
    changed: float
    actor: str
    content: RuleSet
