"""Problem documents (RFC 9457): how a refusal leaves the control API.

Fail closed: what is no `Refused` becomes `internal`, a sentence that says nothing of its cause.
"""

from typing import Any

import msgspec
from starlette.responses import Response

from callgate.errors import Refused

MEDIA_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One problem. `type` is a stable URN of `code`; `data` holds the machine fields of the refusal."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    data: dict[str, Any] | None = None


def problem_of(refused: Refused) -> Problem:
    """The document for one refusal. A policy outcome has no HTTP status of its own here and becomes 409."""
    kind = refused.kind
    status = kind.http if kind.http >= 400 else 409
    return Problem(
        type=f"urn:callgate:error:{kind.code}",
        title=kind.sentence,
        status=status,
        code=kind.code,
        detail=refused.sentence,
        data=dict(refused.data) or None,
    )


def problem_response(refused: Refused) -> Response:
    """The HTTP answer for one refusal; 401 names the scheme (RFC 9110, section 11.6.1)."""
    problem = problem_of(refused)
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    return Response(msgspec.json.encode(problem), problem.status, headers, MEDIA_TYPE)
