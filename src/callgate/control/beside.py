"""What stands beside definitions in an answer, read in a few queries whatever their number."""

from collections.abc import Iterable, Sequence

from callgate.control.views import Beside, ToolView, tool_view
from callgate.model.definition import Definition
from callgate.store import definitions as rows
from callgate.store import findings, people, upstreams
from callgate.store.unit import Unit


async def beside(unit: Unit, found: Sequence[Definition]) -> Beside:
    """Names of upstreams and of what was renamed, findings, and who acknowledged them."""
    seen = await findings.of_contents(unit, {one.id: one.full for one in found})
    who = {kept.acked_by for kinds in seen.values() for kept in kinds if kept.acked_by is not None}
    earlier = {one.renamed_from for one in found if one.renamed_from is not None}
    return Beside(
        await upstreams.names_of(unit, {one.upstream for one in found}),
        seen,
        await emails(unit, who),
        await rows.names_of(unit, earlier) if earlier else {},
    )


async def emails(unit: Unit, who: Iterable[str]) -> dict[str, str]:
    """Row id → e-mail of the people among these actors; an operator stays `operator:<uid>`."""
    wanted = [one for one in who if one.startswith("per_")]
    return await people.emails_of(unit, wanted) if wanted else {}


async def one_tool(unit: Unit, tool: Definition) -> ToolView:
    """A tool for an answer."""
    return tool_view(tool, await beside(unit, [tool]))
