"""Resource /audit: every call and change, newest last in `tail`, oldest first in `events` and the export.

Read-only by construction: there is no function that changes an event. What was recorded before the request is shown.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from starlette.responses import Response, StreamingResponse

from callgate import clock
from callgate.audit.export import csv_chunks
from callgate.control.fields import (
    CURSOR_PATTERN,
    DURATION_PATTERN,
    TIME_PATTERN,
    Email,
    Limit,
    PublicName,
    Slug,
    seconds,
)
from callgate.control.operations import Asked, Operation, Page
from callgate.control.views import iso
from callgate.errors import Refused
from callgate.model.entry import Entry, Filter
from callgate.store import audit as rows
from callgate.store import definitions, people, upstreams
from callgate.store.unit import Unit

_OPEN_US = 3_000_000  # `tail` waits so long for the outcome of a call before it shows the call as open
_LOOK_SECONDS = 0.25

Cursor = Annotated[str, msgspec.Meta(pattern=CURSOR_PATTERN)]
Time = Annotated[str, msgspec.Meta(pattern=TIME_PATTERN, description="ISO 8601 in UTC, or a time back such as 30d")]
Outcome = Literal[
    "result", "tool_error", "rpc_error", "task", "input_required", "withheld", "refused", "cancelled",
    "upstream_failed", "abandoned", "unknown", "open",
]  # fmt: skip


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of events; every filter narrows it."""

    after: Cursor | None = None
    limit: Limit = 100
    since: Time | None = None
    until: Time | None = None
    type: Literal["call", "change"] | None = None
    person: Email | None = None
    upstream: Slug | None = None
    tool: PublicName | None = None
    decision: Literal["allow", "deny", "redact", "require_approval"] | None = None
    outcome: Outcome | None = None


class ExportQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which time to export."""

    since: Time | None = None
    until: Time | None = None


class TailQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last `limit` events, or those after a cursor; `wait` holds the answer up to so many seconds for one."""

    after: Cursor | None = None
    limit: Limit = 20
    wait: Annotated[float, msgspec.Meta(ge=0, le=25)] = 0


class EventView(msgspec.Struct, frozen=True):
    """One call with its outcome, or one change. No field can hold a payload. Names are those of the catalogue."""

    type: str
    id: str
    time: str | None
    ended: str | None
    replica: str | None
    person: str | None
    agent: str | None
    client: str | None
    token: str | None
    method: str | None
    upstream: str | None
    tool: str | None
    fingerprint: str | None
    decision: str | None
    rule: str | None
    ruleset: int | None
    era: str | None
    args_bytes: int | None
    args_hash: str | None
    unknown_name: str | None
    unknown_name_length: int | None
    continues: str | None
    shadow: str | None
    seen: str | None
    approval: str | None
    outcome: str | None
    code: str | None
    result_bytes: int | None
    duration_us: int | None
    upstream_us: int | None
    durability: str | None
    verdict: str | None
    verdict_rule: str | None
    result_seen: str | None
    cost: int | None
    actor: str | None
    action: str | None
    subject: str | None
    before: str | None
    after: str | None


class Tail(msgspec.Struct, frozen=True):
    """Events, oldest first. `next` goes into `after` for what comes then; null only while there are none at all."""

    items: list[EventView]
    next: str | None


def micros(text: str | None) -> int | None:
    """A time of a query in microseconds since 1970. Raises `Refused("validation")` for a day that does not exist."""
    if text is None:
        return None
    if re.search(DURATION_PATTERN, text):
        return clock.now_us() - int(seconds(text) * 1_000_000)
    try:
        moment = datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
        return int(moment.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise Refused("validation", "This time does not exist; write 2026-11-01 or 2026-11-01T12:00:00Z.") from None


async def _views(unit: Unit, entries: Sequence[Entry]) -> list[EventView]:
    ups = await upstreams.names_of(unit, {one.upstream for one in entries if one.upstream})
    defs = await definitions.names_of(unit, {one.definition for one in entries if one.definition})
    emails = await _emails(unit, {one.person for one in entries if one.person} | _person_actors(entries))
    return [_view(one, ups, defs, emails) for one in entries]


def _person_actors(entries: Iterable[Entry]) -> set[str]:
    return {one.actor for one in entries if one.actor and one.actor.startswith("per_")}


async def _emails(unit: Unit, ids: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for person_id in ids:
        person = await people.get(unit, person_id)
        found[person_id] = person.email if person is not None else person_id
    return found


def _view(one: Entry, ups: dict[str, str], defs: dict[str, str], emails: dict[str, str]) -> EventView:
    values = {name: getattr(one, name) for name in EventView.__struct_fields__ if name in Entry.__struct_fields__}
    values |= {
        "type": one.kind,
        "time": _time(one.at),
        "ended": _time(one.ended_at),
        "person": emails.get(one.person or "", one.person),
        "upstream": ups.get(one.upstream or "", one.upstream),
        "tool": defs.get(one.definition or "", one.definition),
        "actor": emails.get(one.actor or "", one.actor),
    }
    return EventView(**values)


def _time(at: int | None) -> str | None:
    return None if at is None else iso(at / 1_000_000)


async def _filter(unit: Unit, query: EventsQuery) -> Filter | None:
    """What to look for; None when a name in the query is unknown, so that nothing can match."""
    person = upstream = definition = None
    if query.person is not None:
        who = await people.by_email(unit, query.person)
        if who is None:
            return None
        person = who.id
    if query.upstream is not None:
        where = await upstreams.by_name(unit, query.upstream)
        if where is None:
            return None
        upstream = where.id
    if query.tool is not None:
        what = await definitions.by_public_name(unit, "tool", query.tool)
        if what is None:
            return None
        definition = what.id
    return Filter(
        since=micros(query.since), until=micros(query.until), kind=query.type, person=person, upstream=upstream,
        definition=definition, decision=query.decision, outcome=query.outcome,
    )  # fmt: skip


async def list_events(asked: Asked[EventsQuery, None]) -> Page[EventView]:
    query = asked.query
    await asked.services.recorder.flush()
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        wanted = await _filter(unit, query)
        if wanted is None:
            return Page([])
        found = await rows.page(unit, query.after, query.limit + 1, wanted=wanted, newest_first=False)
        items = await _views(unit, found[: query.limit])
    more = len(found) > query.limit
    return Page(items, rows.cursor(found[query.limit - 1]) if more else None)


async def tail(asked: Asked[TailQuery, None]) -> Tail:
    query = asked.query
    deadline = clock.monotonic() + query.wait
    while True:
        answer = await _tail_once(asked)
        left = deadline - clock.monotonic()
        if answer.items or left <= 0 or asked.services.stopping.is_set():
            return answer
        try:
            async with asyncio.timeout(min(_LOOK_SECONDS, left)):
                await asked.services.stopping.wait()
        except TimeoutError:
            continue


async def _tail_once(asked: Asked[TailQuery, None]) -> Tail:
    query = asked.query
    await asked.services.recorder.flush()
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found: Sequence[Entry]
        if query.after is None:
            found = (await rows.page(unit, None, query.limit))[::-1]
        else:
            found = await rows.page(unit, query.after, query.limit, newest_first=False)
            found = _settled(found)
        items = await _views(unit, found)
    return Tail(items, rows.cursor(found[-1]) if found else query.after)


def _settled(found: Sequence[Entry]) -> Sequence[Entry]:
    """Up to the first call that may end any moment, so that its outcome is seen when it is shown."""
    young = clock.now_us() - _OPEN_US
    for number, one in enumerate(found):
        if one.kind == "call" and one.outcome is None and one.at > young:
            return found[:number]
    return found


async def export_csv(asked: Asked[ExportQuery, None]) -> Response:
    query = asked.query
    wanted = Filter(since=micros(query.since), until=micros(query.until))
    await asked.services.recorder.flush()
    chunks = csv_chunks(_pages(asked, wanted), EventView.__struct_fields__)
    headers = {"Content-Disposition": 'attachment; filename="callgate-audit.csv"', "Cache-Control": "no-store"}
    return StreamingResponse(chunks, 200, headers, "text/csv")


async def _pages(asked: Asked[ExportQuery, None], wanted: Filter) -> AsyncIterator[list[EventView]]:
    after: str | None = None
    while True:
        async with asked.services.db.unit(asked.tenant, write=False) as unit:
            found = await rows.page(unit, after, 500, wanted=wanted, newest_first=False)
            views = await _views(unit, found)
        yield views
        if len(found) < 500:
            return
        after = rows.cursor(found[-1])


OPERATIONS = (
    Operation("GET", "/audit/events", "Events, oldest first.", list_events, Page[EventView], query=EventsQuery),
    Operation(
        "GET", "/audit/export.csv", "Events as CSV.", export_csv, None, query=ExportQuery, media_type="text/csv"
    ),
    Operation("GET", "/audit/tail", "The last events, and what comes after.", tail, Tail, query=TailQuery),
)  # fmt: skip
