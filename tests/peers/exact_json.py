"""JSON that is compared as it was written: number lexemes, member order, repeated members, null apart from absent."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


class Number(str):
    """A number as its lexeme: 1, 1.0 and 1e0 are three."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Number({self!s})"


class Members(tuple[tuple[str, Any], ...]):
    """An object as its members in order, the repeated ones too."""

    __slots__ = ()

    def get(self, name: str, default: Any = None) -> Any:
        return next((value for key, value in self if key == name), default)

    def without(self, *names: str) -> "Members":
        return Members((key, value) for key, value in self if key not in names)


def decode(raw: bytes) -> Any:
    """Objects become Members, numbers Number. Raises ValueError."""
    return json.loads(raw, object_pairs_hook=Members, parse_int=Number, parse_float=Number, parse_constant=Number)


@dataclass(frozen=True)
class Difference:
    """`path` is like `$.result.content[0].text`; a side that has nothing there is `...`."""

    path: str
    left: Any
    right: Any


def differences(left: Any, right: Any, path: str = "$") -> Iterator[Difference]:
    """Every place where the two differ, the order of members included."""
    if isinstance(left, Members) and isinstance(right, Members):
        yield from _members(left, right, path)
    elif isinstance(left, list) and isinstance(right, list):
        for index in range(max(len(left), len(right))):
            yield from differences(_at(left, index), _at(right, index), f"{path}[{index}]")
    elif type(left) is not type(right) or left != right:
        yield Difference(path, left, right)


def _members(left: Members, right: Members, path: str) -> Iterator[Difference]:
    names = [key for key, _ in left], [key for key, _ in right]
    for name in dict.fromkeys([*names[0], *names[1]]):
        ours = [value for key, value in left if key == name]
        theirs = [value for key, value in right if key == name]
        for index in range(max(len(ours), len(theirs))):
            yield from differences(_at(ours, index), _at(theirs, index), f"{path}.{name}")
    common = set(names[0]) & set(names[1])
    orders = [[name for name in dict.fromkeys(side) if name in common] for side in names]
    if orders[0] != orders[1]:
        yield Difference(f"{path} (order)", names[0], names[1])


def _at(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else ...
