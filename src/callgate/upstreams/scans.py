"""Scanning definitions off the event loop, with the catalogue of the whole tenant at hand.

The scanner itself is pure (`callgate.scanner`); here it gets what it looks at, in pieces, so that thousands of
definitions hold nothing up. Fail closed: an error in the scanner fails the look, and nothing new becomes known.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from callgate import clock
from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.model.definition import Definition, Observed
from callgate.model.finding import Finding
from callgate.model.upstream import Upstream
from callgate.scanner.catalogue import Listed, catalogue_findings
from callgate.scanner.drift import drift_findings
from callgate.scanner.engine import rules_version, scan
from callgate.scanner.surface import surface
from callgate.store import definitions, findings
from callgate.store.engine import Database
from callgate.store.findings import Kept, Scanned
from callgate.store.unit import Unit
from callgate.wire import jsonrpc

_PIECE = 20  # definitions scanned before the loop gets its turn
_TEXTS = frozenset({"description", "title", "param_text"})
_WRITTEN = 200  # definitions written in one transaction
T = TypeVar("T")
Key = tuple[str, str]  # kind and name
Found = dict[Key, tuple[Finding, ...]]


class Report(msgspec.Struct, frozen=True):
    """What a rescan saw: how many definitions it looked at, what nobody had seen before, and how much is gone."""

    scanned: int
    raised: tuple[Kept, ...]
    gone: int


class Scans:
    """The scanner of one replica."""

    def __init__(self, db: Database, fleet: Fleet) -> None:
        self._db = db
        self._fleet = fleet
        self.version = rules_version()

    async def scan(
        self, tenant: str, upstream: Upstream, items: Sequence[Observed], known: Mapping[Key, Definition]
    ) -> Found:
        """What is in each of these definitions of one upstream, by (kind, name): in itself, against what it was before,
        and against all other tools of the tenant. `known` is what the upstream offered before."""
        found: Found = {}
        for piece in _pieces(items):
            found.update(await asyncio.to_thread(_scanned, piece, known))
        own = [_listed(upstream.id, item.name, known.get(("tool", item.name)), item.raw) for item in _tools(items)]
        seen = {tool.name for tool in own}
        kept = (one for (kind, name), one in known.items() if kind == "tool" and one.listed and name not in seen)
        own += [_listed(upstream.id, one.name, one, one.raw) for one in kept]
        across = await asyncio.to_thread(catalogue_findings, own, self._others(tenant, upstream.id), _text)
        for name in seen:
            found["tool", name] += tuple(across.get(name, ()))
        return found

    def _others(self, tenant: str, upstream: str) -> list[Listed]:
        """The tools of all other upstreams, as they were last seen."""
        try:
            definitions_there = self._fleet.view(tenant).definitions.values()
        except Refused:
            return []
        return [
            _listed(one.upstream, one.name, one, one.raw)
            for one in definitions_there
            if one.kind == "tool" and one.listed and one.upstream != upstream
        ]

    async def rescan(self, tenant: str, *, only_old: bool = False) -> Report:
        """Look again at everything that is known of a tenant, or only at what other rules have looked at.

        Raises `Refused("store_unavailable")`.
        """
        view = self._fleet.view(tenant)
        wanted = [one for one in view.definitions.values() if not only_old or one.scanned != self.version]
        across = await asyncio.to_thread(_across, list(view.definitions.values())) if wanted else {}
        report = Report(0, (), 0)
        for start in range(0, len(wanted), _WRITTEN):
            part = wanted[start : start + _WRITTEN]
            seen: dict[str, tuple[Finding, ...]] = {}
            for piece in _pieces(part):
                seen.update(await asyncio.to_thread(_rescanned, piece, across))
            async with self._db.unit(tenant) as unit:
                report = _sum(report, await _keep(unit, part, seen, self.version))
        await self._fleet.refresh_now(tenant)
        return report


def _pieces(items: Iterable[T]) -> Iterator[list[T]]:
    everything = list(items)
    return (everything[start : start + _PIECE] for start in range(0, len(everything), _PIECE))


def _tools(items: Iterable[Observed]) -> Iterator[Observed]:
    return (item for item in items if item.kind == "tool")


def _scanned(items: list[Observed], known: Mapping[Key, Definition]) -> Found:
    """Each item by itself, and what it adds to the version before."""
    found: Found = {}
    for item in items:
        before = known.get((item.kind, item.name))
        added = drift_findings(item.kind, before.raw, item.raw, scan) if before is not None else []
        found[item.kind, item.name] = (*scan(item.kind, item.raw), *added)
    return found


def _rescanned(items: list[Definition], across: Mapping[str, list[Finding]]) -> dict[str, tuple[Finding, ...]]:
    return {item.id: (*scan(item.kind, item.raw), *across.get(item.id, ())) for item in items}


def _across(everything: list[Definition]) -> dict[str, list[Finding]]:
    """What the whole catalogue shows, by row id."""
    tools = [one for one in everything if one.kind == "tool" and one.listed]
    listed = [_listed(one.upstream, one.name, one, one.raw) for one in tools]
    ids = {(one.upstream, one.name): one.id for one in tools}
    found: dict[str, list[Finding]] = {}
    for upstream in {one.upstream for one in tools}:
        own = [tool for tool in listed if tool.upstream == upstream]
        for name, findings_there in catalogue_findings(own, listed, _text).items():
            found[ids[upstream, name]] = findings_there
    return found


def _listed(upstream: str, name: str, known: Definition | None, raw: bytes) -> Listed:
    texts = tuple(
        (leaf.path, leaf.text) for leaf in surface("tool", raw).leaves if leaf.role in _TEXTS and not leaf.key
    )
    return Listed(upstream, name, known.public_name if known is not None else name, texts)


def _text(text: str) -> tuple[Finding, ...]:
    """A scan of texts that were put together."""
    return scan("instructions", jsonrpc.encoded(text))


async def _keep(
    unit: Unit, part: list[Definition], seen: Mapping[str, tuple[Finding, ...]], version: str
) -> Report:  # fmt: skip
    """Write what a rescan saw of the contents that are still the current ones."""
    now = {one.id: one for one in await definitions.some(unit, [one.id for one in part])}
    current = [one for one in part if one.id in now and now[one.id].full == one.full]
    contents = {one.id: one.full for one in current}
    before = await findings.of_contents(unit, contents)
    scans = [Scanned(one.id, one.full, seen[one.id]) for one in current]
    weights = await findings.replace(unit, scans, clock.now())
    await findings.weigh(unit, weights, version)
    after = await findings.of_contents(unit, contents)
    known = {kept.key for kinds in before.values() for kept in kinds}
    there = {kept.key for kinds in after.values() for kept in kinds}
    raised = tuple(kept for kinds in after.values() for kept in kinds if kept.key not in known)
    return Report(len(current), raised, len(known - there))


def _sum(one: Report, other: Report) -> Report:
    return Report(one.scanned + other.scanned, one.raised + other.raised, one.gone + other.gone)
