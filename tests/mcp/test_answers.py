"""Refusals as clients see them, by era."""

import json

import pytest

from callgate.errors import ERRORS, Refused
from callgate.mcp import answers
from callgate.wire import eras


def test_a_policy_outcome_is_a_tool_result_of_text_alone() -> None:
    status, body = answers.refusal(b"7", "tools/call", Refused("denied_by_rule", data={"rule": "r"}), eras.MODERN)
    result = json.loads(body)["result"]
    assert (status, result["isError"], result["resultType"]) == (200, True, "complete")
    assert "structuredContent" not in result
    sentence, line = result["content"][0]["text"].split("\n")
    assert sentence == ERRORS["denied_by_rule"].sentence
    assert json.loads(line) == result["_meta"]["callgate/decision"] == {"code": "denied_by_rule", "rule": "r"}


def test_older_clients_get_no_result_type() -> None:
    _, body = answers.refusal(b"7", "tools/call", Refused("denied_by_rule"), eras.LEGACY)
    assert "resultType" not in json.loads(body)["result"]


def test_what_is_no_tool_call_gets_a_json_rpc_error() -> None:
    status, body = answers.refusal(b'"x"', "prompts/get", Refused("tool_not_trusted"), eras.LEGACY)
    answer = json.loads(body)
    assert (status, answer["id"], answer["error"]["data"]["code"]) == (200, "x", "tool_not_trusted")


@pytest.mark.parametrize(
    ("code", "era", "status"),
    [
        ("unknown_tool", eras.MODERN, 400),
        ("unknown_tool", eras.LEGACY, 200),
        ("method_not_found", eras.MODERN, 404),
        ("method_not_found", eras.LEGACY, 200),
        ("invalid_params", eras.MODERN, 400),
        ("invalid_params", eras.LEGACY, 200),
        ("unsupported_version", eras.LEGACY, 400),
        ("session_not_found", eras.LEGACY, 404),
        ("auth_required", eras.LEGACY, 401),
        ("not_recorded", eras.MODERN, 503),
        ("cancelled", eras.MODERN, 200),
    ],
)
def test_the_status_of_an_error_is_its_eras(code: str, era: str, status: int) -> None:
    assert answers.error_status(Refused(code), era) == status


def test_an_upstreams_error_keeps_its_value_but_for_a_retired_code() -> None:
    raw = b'{"code":-32002,"message":"gone","data":{"x":1.0}}'
    assert answers.relayed_error(raw, eras.LEGACY) == raw
    assert json.loads(answers.relayed_error(raw, eras.MODERN))["code"] == -32602
    assert answers.relayed_status(-32602, eras.MODERN) == 400
    assert answers.relayed_status(-32602, eras.LEGACY) == 200
    assert (answers.code_of(raw), answers.code_of(b'{"code":"x"}')) == (-32002, 0)


def test_a_missing_resource_has_the_code_of_its_era() -> None:
    for era, code in ((eras.MODERN, -32602), (eras.LEGACY, -32002)):
        _, body = answers.refusal(b"1", "resources/read", Refused("unknown_resource"), era)
        assert json.loads(body)["error"]["code"] == code


def test_codes_of_our_own_stand_outside_what_is_reserved() -> None:
    """2026-07-28 /basic/index "Error Codes"; -32001 is what handshake-era SDKs say of a lost session."""
    defined = {-32700, -32600, -32601, -32602, -32603, -32020, -32021, -32022, -32001}
    assert all(kind.rpc in defined or not -32768 <= kind.rpc <= -32000 for kind in ERRORS.values())


def test_every_error_of_the_table_can_be_said() -> None:
    for code in ERRORS:
        body = json.loads(answers.error_message(b"1", Refused(code)))
        assert body["error"]["message"].endswith((".", "!"))
    assert Refused("no_such_code").kind.code == "internal"
    assert str(Refused("conflict", "Because.")) == "Because."
