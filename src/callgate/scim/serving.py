"""The protocol of SCIM, which is scim2-server's, over our storage: one request in, one answer out.

Loaded when the first request comes. Fail closed: a request whose change cannot be recorded changes nothing.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from scim2_models import (
    Error,
    InvalidFilterException,
    PatchOp,
    PatchOperation,
    Resource,
    SCIMException,
    SearchRequest,
)
from scim2_server.conditions import Conditions
from scim2_server.handler import AsyncScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.service import ScimService
from starlette.responses import Response

from callgate.scim import tidy
from callgate.scim.endpoint import Asked, ScimContext
from callgate.scim.provider import provider
from callgate.scim.storage import Storage

MAX_FILTER = 4096
_READING = frozenset({"GET", "HEAD"})


class Service(ScimService):
    """The library's protocol with bounds of ours."""

    def read_search(self, resource_types: list[Any], payload: Any) -> tuple[SearchRequest[Any], Any]:
        """A search; a filter is at most 4,096 characters long."""
        if isinstance(payload, Mapping):
            for name, value in payload.items():
                if name.lower() == "filter" and isinstance(value, str) and len(value) > MAX_FILTER:
                    raise InvalidFilterException(detail=f"The filter is longer than {MAX_FILTER} characters.")
        return super().read_search(resource_types, payload)

    def apply_patch(
        self, current: Resource[Any], patch_op: "PatchOp[Any]", conditions: Conditions
    ) -> Resource[Any] | None:
        """A PATCH; members leave a group at once, however many there are."""
        operations = patch_op.operations or []
        if not any(_leavers(one) for one in operations):
            return super().apply_patch(current, patch_op, conditions)
        self.check_preconditions(current, "PATCH", conditions)
        changed = False
        for one in operations:
            gone = _leavers(one)
            if gone is None:
                changed |= patch_op.model_copy(update={"operations": [one]}).patch(current)
                continue
            members = getattr(current, "members", None) or []
            stay = [member for member in members if member.value not in gone]
            changed |= len(stay) < len(members)
            setattr(current, "members", stay or None)  # noqa: B010  the model is made from a schema
        return current if changed else None

    @staticmethod
    def error_of(exception: Exception) -> Error:
        """The error of an exception, without addresses of documents that it may name."""
        error = ScimService.error_of(exception)
        if error.detail:
            error.detail = error.detail.partition("\n    For further information")[0][:1000]
        return error


def _leavers(operation: PatchOperation[Any]) -> frozenset[str] | None:
    if operation.op != PatchOperation.Op.remove or operation.path is None or operation.value is not None:
        return None
    return tidy.leavers(str(operation.path))


class Serving:
    """Answers requests that have passed the door."""

    def __init__(self, context: ScimContext) -> None:
        self._context = context
        self._service = Service(provider())

    async def answer(self, asked: Asked) -> Response:
        """One answer. Raises `Refused` for what is not the protocol's."""
        body = asked.body
        if asked.method == "PATCH":
            body = tidy.patch(body, asked.path)
        request = ScimRequest(asked.method, asked.base_url, asked.path, asked.query, asked.headers, body)
        writes = asked.method not in _READING and not asked.path.endswith("/.search")
        brief = asked.method == "PATCH" and not asked.query  # answered by a version alone
        storage = Storage(self._context, self._service, asked.actor, writes=writes, brief=brief)
        try:
            response = await AsyncScimHandler(self._service, storage).handle(request)
        except SCIMException as error:
            response = self._service.error_response(error)
        return _answer(response)


def _answer(answered: ScimResponse) -> Response:
    headers = {"Cache-Control": "no-store", **answered.headers}
    if answered.body is None:
        headers.pop("Content-Type", None)
        return Response(status_code=int(answered.status), headers=headers)
    return Response(msgspec.json.encode(answered.body), int(answered.status), headers)
