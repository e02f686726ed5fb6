"""Upstreams inside a test, for discovery: what each offers is a variable, and so is when it answers."""

import asyncio
from collections import Counter
from collections.abc import Callable

from callgate.errors import Refused
from callgate.model.upstream import Upstream
from callgate.upstreams.facts import Facts, Item
from callgate.wire import jsonrpc


def tool(name: str, description: str = "") -> Item:
    return Item("tool", name, jsonrpc.encoded({"name": name, "description": description, "inputSchema": {}}))


def facts(*items: Item, instructions: str = "", unlisted: dict[str, str] | None = None) -> Facts:
    """One complete look."""
    return Facts("modern", "2026-07-28", "Shelf", "1", b'{"tools":{}}', instructions, items, unlisted or {})


class Shelf:
    """By upstream id: `offers` is what it says (an error is raised), `held` what it waits for before it answers."""

    def __init__(self) -> None:
        self.on_change: Callable[[Upstream, str], None] | None = None
        self.offers: dict[str, Facts | Exception] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.looks: Counter[str] = Counter()
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.heard: dict[str, Callable[[str, bytes], None]] = {}
        self.forgotten: list[str] = []

    async def discovery(self, upstream: Upstream) -> Facts:
        self.looks[upstream.id] += 1
        self.asked.put_nowait(upstream.id)
        if upstream.id in self.held:
            await self.held[upstream.id].wait()
        offer = self.offers.get(upstream.id, Refused("upstream_unavailable"))
        if isinstance(offer, Exception):
            raise offer
        return offer

    async def watch(self, upstream: Upstream, tell: Callable[[str, bytes], None]) -> None:
        self.heard[upstream.id] = tell
        try:
            await asyncio.Event().wait()
        finally:
            del self.heard[upstream.id]

    async def forget(self, upstream_id: str) -> None:
        self.forgotten.append(upstream_id)

    def say_changed(self, upstream_id: str, kind: str = "tools") -> None:
        """The upstream sends `list_changed` on the stream that discovery keeps open."""
        self.heard[upstream_id](f"notifications/{kind}/list_changed", b"{}")

    async def next_asked(self) -> str:
        """The id of the next upstream that is looked at."""
        async with asyncio.timeout(20):
            return await self.asked.get()
