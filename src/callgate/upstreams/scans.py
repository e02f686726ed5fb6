"""Scanning definitions off the event loop, with the catalogue of the whole tenant at hand.

The scanner itself is pure (`callgate.scanner`); here it gets what it looks at, in pieces, so that thousands of
definitions hold nothing up. Fail closed: an error in the scanner fails the look, and nothing new becomes known.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

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
Key = tuple[str, str]  # kind and name
Found = dict[Key, tuple[Finding, ...]]


class Report(msgspec.Struct, frozen=True):
    """What a rescan saw: how many definitions it looked at, what nobody had seen before, and how much is gone."""

    scanned: int
    raised: tuple[Kept, ...]
    gone: int


class Text(NamedTuple):
    """What is to be scanned, and what of the same definition was approved, where that is something else."""

    kind: str
    raw: bytes
    reviewed: bytes | None


class Scans:
    """The scanner of one replica."""

    def __init__(self, db: Database, fleet: Fleet) -> None:
        self._db = db
        self._fleet = fleet
        self.version = rules_version()

    async def scan(
        self, tenant: str, upstream: Upstream, items: Sequence[Observed], known: Mapping[Key, Definition]
    ) -> Found:
        """What is in each of these definitions of one upstream, by (kind, name): in itself, against what was approved,
        and against all other tools of the tenant. `known` is what the upstream offered before."""
        pairs = [(item, known.get((item.kind, item.name))) for item in items]
        reviewed = await self._reviewed(tenant, ((one, item.full) for item, one in pairs if one is not None))
        texts = [Text(item.kind, item.raw, reviewed.get(one.id) if one is not None else None) for item, one in pairs]
        each = zip(items, await _scanned(texts), strict=True)
        found: Found = {(item.kind, item.name): findings_there for item, findings_there in each}
        own = [_listed(upstream.id, item.name, known.get(("tool", item.name)), item.raw) for item in _tools(items)]
        seen = {tool.name for tool in own}
        kept = (one for (kind, name), one in known.items() if kind == "tool" and one.listed and name not in seen)
        own += [_listed(upstream.id, one.name, one, one.raw) for one in kept]
        across = await asyncio.to_thread(catalogue_findings, own, self._others(tenant, upstream.id), _text)
        for name in seen:
            found["tool", name] += tuple(across.get(name, ()))
        return found

    async def _reviewed(self, tenant: str, now: Iterable[tuple[Definition, str]]) -> dict[str, bytes]:
        """What was approved, by row id, of definitions whose content (of the hash given with each) is another."""
        changed = [(one, full) for one, full in now if one.approved_full not in (None, full)]
        if not changed:
            return {}
        async with self._db.unit(tenant, write=False) as unit:
            return await definitions.reviewed_contents(unit, changed)

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
            reviewed = await self._reviewed(tenant, ((one, one.full) for one in part))
            each = zip(part, await _scanned([Text(o.kind, o.raw, reviewed.get(o.id)) for o in part]), strict=True)
            seen = {one.id: (*own, *across.get(one.id, ())) for one, own in each}
            async with self._db.unit(tenant) as unit:
                report = _sum(report, await _keep(unit, part, seen, self.version))
        await self._fleet.refresh_now(tenant)
        return report


def _tools(items: Iterable[Observed]) -> Iterator[Observed]:
    return (item for item in items if item.kind == "tool")


async def _scanned(texts: Sequence[Text]) -> list[tuple[Finding, ...]]:
    """What is in each of these, in their order, a piece at a time."""
    found: list[tuple[Finding, ...]] = []
    for start in range(0, len(texts), _PIECE):
        found += await asyncio.to_thread(lambda piece: [_one(text) for text in piece], texts[start : start + _PIECE])
    return found


def _one(text: Text) -> tuple[Finding, ...]:
    """What is in a definition by itself, and in what was added since its review."""
    added = [] if text.reviewed is None else drift_findings(text.kind, text.reviewed, text.raw, scan)
    return (*scan(text.kind, text.raw), *added)


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
