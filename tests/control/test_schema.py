"""schemathesis over the control API: no answer that the OpenAPI document does not promise, and no 500."""

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from callgate.control.openapi import document
from callgate.control.resources import all_operations
from tests.support.running import Running

CHECKS = (
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
)


FRAMING = ("transfer-encoding", "content-length", "connection", "upgrade", "expect", "host")

API: dict[str, Any] = document(all_operations())
schema = schemathesis.openapi.from_dict(API)


@pytest.fixture(scope="module")
def token(gateway: Running) -> str:
    return gateway.person("fuzz@acme.test", "admin", "auditor")[1]


def check(case: Any, gateway: Running, token: str) -> None:
    # an empty list or object is not sent at all, so the server cannot refuse it
    assume(all(not isinstance(value, list | dict) for value in case.query.values()))
    wait = case.query.get("wait")
    if isinstance(wait, int | float) and 0 <= wait <= 25:
        case.query["wait"] = 0  # a long poll is a wait, not an answer
    for name in [one for one in case.headers if one.lower() in FRAMING]:
        del case.headers[name]  # a request that is not HTTP is refused below the API
    headers = {"Authorization": f"Bearer {token}"}
    case.call_and_validate(base_url=f"{gateway.url}/api/v1", headers=headers, checks=list(CHECKS))


def named(operation: str, examples: int, *, derandomize: bool) -> Callable[..., None]:
    """The test of one operation. Each is a function of its own: pytest gives all that come out of one the same id."""

    @schema.include(operation_id=operation).parametrize()
    @settings(max_examples=examples, deadline=None, derandomize=derandomize, suppress_health_check=list(HealthCheck))
    def test(case: Any, gateway: Running, token: str) -> None:
        check(case, gateway, token)

    made: Callable[..., None] = test
    return made


for _path in API["paths"].values():
    for _id in [operation["operationId"] for operation in _path.values() if "operationId" in operation]:
        globals()[f"test_every_answer_is_the_documented_one_{_id}"] = named(_id, 20, derandomize=True)
        globals()[f"test_at_length_{_id}"] = pytest.mark.soak(named(_id, 400, derandomize=False))
