"""Files of one JSON value a line, for the commands that read them without a gateway."""

import sys
from collections.abc import Iterator
from typing import BinaryIO

from callgate.errors import Refused


def lines(path: str) -> Iterator[bytes]:
    """The lines of a file; `-` is stdin. Raises `Refused("validation")` when it cannot be read."""
    if path == "-":
        yield from sys.stdin.buffer
        return
    try:
        with open(path, "rb") as file:  # noqa: PTH123  a path that may be a pipe
            yield from _all(file)
    except OSError as error:
        raise Refused("validation", f"{path} cannot be read: {error.strerror}.") from None


def _all(file: BinaryIO) -> Iterator[bytes]:
    yield from file
