"""What the machine needs to know of where it runs: handed in by the edge, so that the machine does no input or output.

Fail closed: it holds sealers and a keyed hash, never a key.
"""

from collections.abc import Callable

import msgspec

from callgate.call import record, state


class Place(msgspec.Struct, frozen=True):
    """What the machine needs to know of where it runs."""

    replica: str
    mac: record.Mac
    sealer: state.Sealer
    tasks: state.Sealer
    connect: Callable[[str, str], str] = lambda _, upstream: f"/connections/{upstream}"  # the page to connect at
