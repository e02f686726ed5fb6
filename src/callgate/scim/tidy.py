"""What identity providers send that the specification does not have, put into its words. Pure.

Entra sends a manager as a bare id, and takes members out by a list of values; Okta repeats the id of a group when it
renames it, and takes hundreds of members out one by one. What is not known here is left for the protocol to judge.
Fail closed: what would keep the gateway busy for long is refused.
"""

import re
from typing import Any

import msgspec

from callgate.errors import Refused

MAX_OPERATIONS = 500  # after neighbours that change members have become one
MAX_PATH = 4096
_MANAGER = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user:manager"
_OUT = re.compile(r'members\[value eq "([^"\\]*)"\]', re.IGNORECASE)
Operation = dict[str, Any]


def patch(body: bytes, path: str) -> bytes:
    """The body of a PATCH at a path, with known oddities undone; any other body as it came.

    Raises `Refused("validation")` for too many operations, and for a path that is too long.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    if not isinstance(document, dict):
        return body
    for name, operations in document.items():
        if name.lower() == "operations" and isinstance(operations, list):
            if not all(isinstance(one, dict) for one in operations):
                return body
            document[name] = _tidied(operations, path)
    return msgspec.json.encode(document)


def leavers(path: str) -> frozenset[str] | None:
    """Whom the path of a removal takes out of a group: ids parted by blanks, as `patch` writes them; else None."""
    found = _OUT.fullmatch(path)
    return None if found is None else frozenset(found[1].split())


def _tidied(operations: list[Operation], path: str) -> list[Operation]:
    tidied = [_one(operation, path.rpartition("/")[2]) for operation in operations]
    if path.lower().startswith("/groups/"):
        tidied = _merged(tidied)
    if len(tidied) > MAX_OPERATIONS:
        raise Refused("validation", f"A PATCH has at most {MAX_OPERATIONS} operations.")
    return tidied


def _one(operation: Operation, resource_id: str) -> Operation:
    value, path = operation.get("value"), operation.get("path")
    if isinstance(path, str) and len(path) > MAX_PATH:
        raise Refused("validation", f"The path of an operation has at most {MAX_PATH} characters.")
    if isinstance(path, str) and path.lower() == _MANAGER and isinstance(value, str):
        return {**operation, "value": {"value": value}} if value else {"op": "remove", "path": path}
    if path is None and isinstance(value, dict) and value.get("id") == resource_id:
        return {**operation, "value": {name: one for name, one in value.items() if name != "id"}}  # says nothing new
    return operation


def _merged(operations: list[Operation]) -> list[Operation]:
    """Neighbours that add members, or take members out, as one operation: each alone would walk over all members."""
    merged: list[Operation] = []
    for operation in operations:
        last = merged[-1] if merged else {}
        gone, before = _gone(operation), _gone(last)
        if gone is not None:
            if before is not None:
                merged.pop()
            merged.append({"op": "remove", "path": f'members[value eq "{" ".join([*(before or ()), *gone])}"]'})
        elif _adds(operation) and _adds(last):
            merged[-1] = {**last, "value": [*last["value"], *operation["value"]]}
        else:
            merged.append(operation)
    return merged


def _adds(operation: Operation) -> bool:
    named = str(operation.get("op")).lower(), str(operation.get("path")).lower()
    return named == ("add", "members") and isinstance(operation.get("value"), list)


def _gone(operation: Operation) -> list[str] | None:
    """The ids that an operation takes out, None when it does something else."""
    path, value = operation.get("path"), operation.get("value")
    if str(operation.get("op")).lower() != "remove" or not isinstance(path, str):
        return None
    if path.lower() != "members":
        found = None if value is not None else _OUT.fullmatch(path)
        return None if found is None else found[1].split()
    if not isinstance(value, list):
        return None
    gone = [one.get("value") if isinstance(one, dict) else None for one in value]
    ids = [one for one in gone if isinstance(one, str) and re.fullmatch(r"[A-Za-z0-9_-]+", one)]
    return ids if len(ids) == len(value) else None
