"""Many people with a token each, written straight into the store before the gateway starts."""

import asyncio
from pathlib import Path

from sqlalchemy import insert

from callgate import clock, ids
from callgate.model.caller import DEFAULT_TENANT
from callgate.store import schema, tenants
from callgate.store.engine import Database

_CHUNK = 10_000


def people(data: Path, count: int) -> list[str]:
    """Make a store in a data directory and this many people in it; their tokens in clear."""
    return asyncio.run(_people(f"sqlite:///{data.resolve() / 'callgate.db'}", count))


async def _people(url: str, count: int) -> list[str]:
    database = await Database.open(url)
    clear = [ids.new_token() for _ in range(count)]
    try:
        async with database.unit(None) as unit:
            await tenants.ensure(unit, DEFAULT_TENANT)
        async with database.unit(DEFAULT_TENANT) as unit:
            revision = await unit.bump("identity")
            for start in range(0, count, _CHUNK):
                persons, tokens = _rows(clear[start : start + _CHUNK], start, revision)
                await unit.execute(insert(schema.people), persons)
                await unit.execute(insert(schema.tokens), tokens)
    finally:
        await database.close()
    return clear


def _rows(
    clear: list[str], start: int, revision: int
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:  # fmt: skip
    persons: list[dict[str, object]] = []
    tokens: list[dict[str, object]] = []
    for number, token in enumerate(clear, start):
        shared = {"tenant": DEFAULT_TENANT, "created": clock.now(), "revision": revision}
        person = ids.new_id("per")
        email = f"person-{number}@example.test"
        persons.append(
            {**shared, "id": person, "email": email, "roles": '["member"]', "teams": "[]", "active": True}
        )  # fmt: skip
        tokens.append({**shared, "id": ids.new_id("tok"), "hash": ids.token_hash(token), "person": person})
    return persons, tokens
