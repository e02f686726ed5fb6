"""Which members of a variable an expression reads, from its syntax tree. Pure.

A call with a large argument should not pay for it when the condition looks at another one. Fail closed: what is not
understood reads everything.

The tree is a `CheckedExpr` within an `Any`, in the protobuf encoding (cel-spec, proto/cel/expr/checked.proto and
syntax.proto).
"""

from collections.abc import Iterator

ALL = frozenset({"*"})
_TYPE = b"type.googleapis.com/cel.expr.CheckedExpr"
_EXPR = 4  # of a CheckedExpr
_IDENT, _SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION, _CONST = 4, 5, 6, 7, 8, 9, 3
_ID, _ENTRY = 2, 0  # no kinds of nodes: the number of every node, and what a struct holds
_LEAVES = frozenset({_ID, _CONST, _IDENT})
# fields that hold expressions, by the kind of the node
_CHILDREN = {_CALL: (1, 3), _LIST: (1,), _STRUCT: (2,), _ENTRY: (3, 4), _COMPREHENSION: (2, 4, 5, 6, 7)}
_TEXT = 6  # of a constant
_Fields = list[tuple[int, bytes]]


def members(checked: bytes, variable: str) -> frozenset[str]:
    """The members of a variable that a serialised expression reads; `ALL` where that is not known."""
    try:
        wrapped = _fields(checked)
        expr = _one(_fields(_one(wrapped, 2)), _EXPR)
        if _one(wrapped, 1) != _TYPE or not expr:
            return ALL
        found = frozenset(_reads(expr, variable))
    except (IndexError, ValueError, RecursionError):
        return ALL
    return ALL if "*" in found else found


def _reads(expr: bytes, variable: str) -> Iterator[str]:
    """The members that an expression reads, with "*" where it reads more than that."""
    for kind, body in _fields(expr):
        if kind == _IDENT and _one(_fields(body), 1) == variable.encode():
            yield "*"
        elif kind == _SELECT:
            yield from _selected(_fields(body), variable)
        elif kind == _CALL and (name := _indexed(body, variable)) is not None:
            yield name
        elif kind in _CHILDREN:
            for child in _children(kind, body):
                yield from _reads(child, variable)
        elif kind not in _LEAVES:
            yield "*"


def _selected(parts: _Fields, variable: str) -> Iterator[str]:
    operand = _one(parts, 1)
    if _is(operand, variable):
        yield _one(parts, 2).decode()
    else:
        yield from _reads(operand, variable)


def _children(kind: int, body: bytes) -> Iterator[bytes]:
    for number, child in _fields(body):
        if number not in _CHILDREN[kind]:
            continue
        if kind == _STRUCT:
            yield from _children(_ENTRY, child)
        else:
            yield child


def _is(expr: bytes, variable: str) -> bool:
    """Whether an expression is just the variable."""
    return any(kind == _IDENT and _one(_fields(body), 1) == variable.encode() for kind, body in _fields(expr))


def _indexed(call: bytes, variable: str) -> str | None:
    """The name in `variable["name"]`."""
    parts = _fields(call)
    arguments = [body for number, body in parts if number == 3]
    if _one(parts, 2) != b"_[_]" or len(arguments) != 2 or not _is(arguments[0], variable):
        return None
    for kind, body in _fields(arguments[1]):
        if kind == _CONST:
            texts = [value for number, value in _fields(body) if number == _TEXT]
            return texts[0].decode() if texts else None
    return None


def _one(fields: _Fields, number: int) -> bytes:
    return next((value for found, value in fields if found == number), b"")


def _fields(message: bytes) -> _Fields:
    """(number, value) of a message; the value of a number is empty. Raises `ValueError`, `IndexError`."""
    found: _Fields = []
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        value = b""
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == 1:
            at += 8
        elif kind == 5:
            at += 4
        elif kind == 2:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        else:
            raise ValueError("no such wire type")
        if at > len(message):
            raise ValueError("cut short")
        found.append((tag >> 3, value))
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
