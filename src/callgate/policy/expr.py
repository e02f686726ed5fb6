"""Conditions of rules: CEL, checked when a rule is saved, evaluated within budgets.

What a condition may speak of is `VARIABLES`; `args` is whatever the caller sent, all else is typed, so that a misspelt
name is refused at save with its place. Fail closed: a condition that has no answer (a member that is not there, a
comparison of unlike things, a budget that is used up) raises `NoAnswer`, which ends in a deny.

The language: https://github.com/google/cel-spec. Budgets are the evaluator's own: 100,000 characters, nesting of 32,
and a bound on the rounds of all loops together.
"""

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

from callgate.errors import Refused
from callgate.policy.members import members

MAX_LENGTH = 4000  # characters of one condition
_TEXTS = cel.Type.List(cel.Type.STRING)
VARIABLES: dict[str, cel.Type] = {
    "args": cel.Type.DYN,
    "result": cel.Type.DYN,
    "person.email": cel.Type.STRING,
    "person.roles": _TEXTS,
    "person.teams": _TEXTS,
    "agent.name": cel.Type.STRING,
    "client.name": cel.Type.STRING,
    "tool.name": cel.Type.STRING,
    "tool.public_name": cel.Type.STRING,
    "tool.title": cel.Type.STRING,
    "tool.annotations": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
    "tool.risk": cel.Type.STRING,
    "upstream.name": cel.Type.STRING,
    "upstream.kind": cel.Type.STRING,
    "upstream.auth_mode": cel.Type.STRING,
    "request.address": cel.Type.STRING,
    "request.method": cel.Type.STRING,
    "request.time": cel.Type.TIMESTAMP,
}
_ENV = cel.NewEnv(variables=VARIABLES, extensions=[ext_strings.ExtStrings()])
_PLACE = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")
_NAME = re.compile(r"undeclared reference to '([^']*)'")
_INTERNAL = re.compile(r" ?\[[A-Z_]+\]$| \(in container ''\)")
Values = Mapping[str, object]
Activation = Any  # cel.Activation: the library has no types that mypy can see


class NoAnswer(Exception):
    """A condition could not be evaluated; the sentence names no value."""


class Condition:
    """A checked condition. `variables` holds those that it names, and `members` what it reads of `args`: `members.ALL`
    for anything, empty for nothing."""

    __slots__ = ("_expression", "members", "reads_result", "text", "variables")

    def __init__(self, text: str) -> None:
        self.text = text
        self._expression = _compiled(text)
        tree = self._expression.serialize()
        self.members = members(tree, "args")
        self.reads_result = bool(members(tree, "result"))
        self.variables = frozenset(name for name in VARIABLES if name in text)  # at least those that it names

    def holds(self, given: Activation) -> bool:
        """Whether it is true of what is given (`activation`). Raises `NoAnswer`."""
        try:
            found = self._expression.eval(given).value()
        except (RuntimeError, ValueError, TypeError):
            raise NoAnswer("It took more steps than a condition may.") from None
        if found is True or found is False:
            return bool(found)
        raise NoAnswer(_why(found))


def activation(values: Values) -> Activation:
    """What conditions are evaluated with: a value for each of `VARIABLES` that they read."""
    return _ENV.Activation(values)


@lru_cache(maxsize=4096)
def condition(text: str) -> Condition:
    """A condition, checked. Raises `Refused("validation")` with line, column and a hint."""
    return Condition(text)


def _compiled(text: str) -> cel.Expression:
    if len(text) > MAX_LENGTH:
        raise Refused("validation", f"a condition holds at most {MAX_LENGTH:,} characters.")
    try:
        found = _ENV.compile(text)
    except (RuntimeError, ValueError, TypeError) as error:
        raise Refused("validation", _explained(str(error))) from None
    if found.return_type() != cel.Type.BOOL:
        kind = found.return_type().name().lower()
        wanted = "compare it, as in `args.force == true`" if kind == "dyn" else "use it in a comparison"
        raise Refused("validation", f"it must be true or false, not of type {kind}: {wanted}.")
    return found


def _explained(said: str) -> str:
    """What the checker said, with the place first and without its drawing."""
    place = _PLACE.search(said)
    if place is None:
        return _INTERNAL.sub("", said.partition("\n")[0]).strip()[:300]
    line, column, what = place.groups()
    sentence = f"line {line}, column {column}: {_INTERNAL.sub('', what)[:300]}"
    unknown = _NAME.search(what)
    if unknown is None:
        return sentence
    near = difflib.get_close_matches(unknown[1], VARIABLES, n=1)
    known = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(VARIABLES)}."
    return f"{sentence}; {known}"


def _why(found: object) -> str:
    """The kind of an error value. Its text can quote an argument, so it goes no further."""
    said = str(found)
    if "NOT_FOUND" in said:
        return "It reads a member that this call does not have; test for it with has() first."
    if "no matching overload" in said.lower():
        return "It compares or combines values of unlike types."
    if "budget" in said.lower():
        return "It took more steps than a condition may."
    return "It has no answer for these arguments."
