"""Monthly partitions of the audit on PostgreSQL, made ahead of time.

On failure: an event without a partition of its own goes to `audit_default`, so nothing is refused for want of one.
A month that already has events in the default partition stays there.
"""

from datetime import UTC, datetime

from sqlalchemy import Connection, text

from callgate import clock

_AHEAD = 3  # months
_LOCK = 0x63616C6C70617274  # "callpart"


def months_from(moment: datetime, count: int) -> list[tuple[str, int, int]]:
    """(suffix `YYYY_MM`, first microsecond, first microsecond of the next month), for `count` months."""
    found = []
    for offset in range(count):
        start, end = _first_of(moment, offset), _first_of(moment, offset + 1)
        found.append((f"{start:%Y_%m}", _microseconds(start), _microseconds(end)))
    return found


def make_ahead(connection: Connection) -> None:
    """Make the partitions of this month and the next ones that are missing; acts as the owner of the tables."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    existing = set(
        connection.execute(
            text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit'::regclass")
        ).scalars()
    )
    for suffix, start, end in months_from(clock.utc(clock.now()), _AHEAD + 1):
        name = f"audit_{suffix}"
        if name not in existing and not _default_holds(connection, start, end):
            connection.execute(text(f"CREATE TABLE {name} PARTITION OF audit FOR VALUES FROM ({start}) TO ({end})"))


def _default_holds(connection: Connection, start: int, end: int) -> bool:
    query = text("SELECT EXISTS (SELECT FROM audit_default WHERE at >= :start AND at < :end)")
    return bool(connection.execute(query, {"start": start, "end": end}).scalar_one())


def _first_of(moment: datetime, offset: int) -> datetime:
    month = moment.month - 1 + offset
    return datetime(moment.year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
