"""Reading a governance file: YAML with the line of every value, so that an error names file, line and a hint.

Fail closed: duplicate and unknown keys, aliases that explode, and values of a wrong type are errors; nothing is
ignored. Dates are not special: a plain text stays a text.
"""

import re
import sys
from pathlib import Path

import msgspec
import yaml

from callgate.control.body import explain, plainly
from callgate.control.documents import Document, RuleSpec
from callgate.errors import Refused
from callgate.policy.expr import condition

MAX_NODES = 200_000
MAX_DEPTH = 40
_LATER = {
    "openapi": "OpenAPI upstreams are not supported by this version.",
}


class _Loader(yaml.SafeLoader):
    """YAML's core types without dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Reader:
    """Turns nodes into values and notes where each stood."""

    def __init__(self, name: str, loader: _Loader) -> None:
        self.name = name
        self.lines: dict[str, int] = {}
        self._loader = loader
        self._nodes = 0

    def value(self, node: yaml.Node, path: str, depth: int = 0) -> object:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise self.error(node, "the file is too large or refers to itself")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(one, f"{path}[{index}]", depth + 1) for index, one in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            raise self.error(node, "this value cannot be read") from None

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.error(key, "a key must be a plain text")
            name = str(key.value)
            if name in found:
                raise self.error(key, f"the key `{name}` stands here twice")
            self.lines[f"{path}.{name}"] = key.start_mark.line + 1
            found[name] = self.value(value, f"{path}.{name}", depth + 1)
        return found

    def error(self, node: yaml.Node, what: str) -> Refused:
        return Refused("validation", f"{self.name}:{node.start_mark.line + 1}: {what}.")


def read(path: Path) -> Document:
    """The document in a file (`-` is stdin). Raises `Refused("validation")` with `file:line: …`."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Refused("validation", f"{path} cannot be read: {why}.") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Document:
    """The document in a text."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        reader = _Reader(name, loader)
        value = {} if node is None else reader.value(node, "$")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise Refused("validation", f"{name}:{line}: this is not valid YAML: {error.problem}.") from None
    except yaml.YAMLError:
        raise Refused("validation", f"{name}:1: this is not valid YAML.") from None
    finally:
        loader.dispose()
    return _checked(value, reader)


def _checked(value: object, reader: _Reader) -> Document:
    if not isinstance(value, dict):
        raise Refused("validation", f"{reader.name}:1: the file must be a mapping with people, agents, upstreams, …")
    try:
        document = msgspec.convert(value, Document)
    except msgspec.ValidationError as error:
        raise Refused("validation", _placed(str(error), reader)) from None
    for index, rule in enumerate(document.rules or ()):
        _check_condition(rule, f"$.rules[{index}].when", reader)
    return document


def _check_condition(rule: RuleSpec, path: str, reader: _Reader) -> None:
    """The place in the file is known only here. Raises `Refused("validation")`."""
    try:
        if rule.when:
            condition(rule.when)
    except Refused as refused:
        raise Refused("validation", f"{reader.name}:{_line(path, reader)}: `when`, {refused.detail}") from None


_PATH = re.compile(r" - at `(?P<path>\$[^`]*)`")
_FIELD = re.compile(r"unknown field `(?P<field>[^`]*)`")


def _placed(message: str, reader: _Reader) -> str:
    at = _PATH.search(message)
    path = at["path"] if at else "$"
    unknown = _FIELD.search(message)
    if unknown is not None:
        line = reader.lines.get(f"{path}.{unknown['field']}") or _line(path, reader)
        later = _LATER.get(unknown["field"])
        if later is not None:
            return f"{reader.name}:{line}: {later}"
        return f"{reader.name}:{line}: {explain(message, Document)}"
    return f"{reader.name}:{_line(path, reader)}: {plainly(message)}."


def _line(path: str, reader: _Reader) -> int:
    """The line of a path, or of the nearest thing around it."""
    while path not in reader.lines and len(path) > 1:
        path = re.sub(r"(\.[^.\[]*|\[[^\]]*\])$", "", path) or "$"
    return reader.lines.get(path, 1)
