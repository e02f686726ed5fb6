"""Resource /governance: the whole configuration as one document: plan, apply, export.

Applying is one transaction and repeatable: what is as the document says is not touched. Planning does the same and
rolls it back. What can not be done yet (a tool that no upstream has shown) is named in `missing`, never skipped.
"""

from typing import Any

import msgspec

from callgate.control import reconcile
from callgate.control.documents import Document
from callgate.control.export import document_of
from callgate.control.operations import Asked, Operation
from callgate.control.outcome import Changed, Missing, Outcome
from callgate.control.reconcile import Work
from callgate.control.upstreams import settle


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document with the values of the secrets it refers to. `prune` removes what its sections do not name."""

    document: Document
    secrets: dict[str, str] = {}
    prune: bool = False


class Result(msgspec.Struct, frozen=True):
    """What was (or would be) changed, and what can not be done yet."""

    changes: list[Changed]
    missing: list[Missing]


class _Undo(Exception):
    pass


async def _work(asked: Asked[Any, Request]) -> Work:
    await asked.services.envelope.warm(asked.tenant)
    return Work(asked.services, asked.actor, asked.body.document, asked.body.secrets, asked.body.prune)


async def plan(asked: Asked[Any, Request]) -> Result:
    work, outcome = await _work(asked), Outcome()
    try:
        async with asked.services.db.unit(asked.tenant) as unit:
            await reconcile.run(work, unit, outcome)
            raise _Undo
    except _Undo:
        return Result(outcome.changes, outcome.missing)


async def apply(asked: Asked[Any, Request]) -> Result:
    work, outcome = await _work(asked), Outcome()
    async with asked.services.db.unit(asked.tenant) as unit:
        await reconcile.run(work, unit, outcome)
    await asked.services.seen(asked.tenant)
    for upstream in outcome.touched:
        await settle(asked.services, upstream)
    return Result(outcome.changes, outcome.missing)


async def export(asked: Asked[Any, None]) -> Document:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        return await document_of(unit)


OPERATIONS = (
    Operation(
        "POST", "/governance/plan", "What applying a document would change.", plan, Result, body=Request,
        errors=("operator_only", "unsafe_target", "conflict"),
    ),
    Operation(
        "POST", "/governance/apply", "Make everything as a document says.", apply, Result, body=Request,
        errors=("operator_only", "unsafe_target", "conflict"),
    ),
    Operation("GET", "/governance/export", "The configuration as a document.", export, Document),
)  # fmt: skip
