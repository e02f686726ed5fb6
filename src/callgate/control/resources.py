"""All operations of the control API, gathered from the resource modules in the order of the documentation."""

from callgate.control import (
    agents,
    approvals,
    audit,
    clients,
    connections,
    definitions,
    doctor,
    drafts,
    governance,
    keys,
    kills,
    offboardings,
    options,
    people,
    policies,
    providers,
    replicas,
    risks,
    rules,
    tokens,
    tools,
    upstreams,
    whoami,
)
from callgate.control.operations import Asked, Nothing, Operation


async def _document(_asked: Asked[Nothing, None]) -> object:
    raise NotImplementedError  # answered by the API itself, which holds the document


DESCRIBE = Operation("GET", "/openapi.json", "This document.", _document, dict)


def all_operations() -> list[Operation]:
    """Every operation of every resource."""
    groups = (
        upstreams, tools, definitions, risks, people, agents, tokens, clients, providers, connections, offboardings,
        rules, policies, drafts, kills, approvals, audit, replicas, governance, options, keys, doctor,
        whoami,
    )  # fmt: skip
    return [DESCRIBE, *(one for group in groups for one in group.OPERATIONS)]
