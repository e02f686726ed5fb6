"""What conversations with upstreams are handed in: opened credentials, and who starts programs."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from callgate.model.upstream import Upstream
from callgate.upstreams.duplex import Channel


class Credential(msgspec.Struct, frozen=True):
    """An opened credential: a header for HTTP, values for a child's environment. In no repr."""

    header: tuple[str, str] | None = None
    env: dict[str, str] = {}
    account: str = ""

    def __repr__(self) -> str:
        return "Credential(…)"


Opener = Callable[[Upstream], Awaitable[Credential]]


class Spawner(Protocol):
    """Starts the children of stdio upstreams (`stdio.Children`)."""

    async def spawn(self, upstream: Upstream, variables: dict[str, str]) -> Channel: ...

    def stderr(self, upstream_id: str) -> str: ...
