"""Names and URIs are looked up, never split; what an agent may not see does not exist for it."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.call.resolve import LONGEST_URI, Untrusted, catalogued, find, owner_of, resolve, visible_upstreams
from callgate.errors import Refused
from callgate.fleet.snapshot import Delta, Snapshot, apply
from tests.call.world import ANA, FILES, MAIL, definition, request, snapshot

LIMITED = msgspec.structs.replace(ANA, agent="bot", allowed_upstreams=("mail*",))


def refused(asked: object, known: object = None) -> str:
    with pytest.raises(Refused) as caught:
        resolve(known or snapshot(), asked)  # type: ignore[arg-type]
    return caught.value.code


def test_a_tool_goes_to_its_upstream_under_its_own_name() -> None:
    target = resolve(snapshot(), request(params={"arguments": {"n": 1}}))
    assert (target.upstream.name, target.name) == ("files", "read")
    assert json.loads(target.params) == {"name": "read", "arguments": {"n": 1}}


def test_within_a_scope_names_are_the_upstreams_own() -> None:
    target = resolve(snapshot(), request(name="read", scope="files"))
    assert target.definition is not None
    assert refused(request(name="send", scope="files")) == "unknown_tool"


def test_the_clients_envelope_stays_behind_and_other_meta_travels() -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "progressToken": 7, "callId": "x", "traceparent": "00",
    }  # fmt: skip
    target = resolve(snapshot(), request(params={"_meta": meta, "extra": 9007199254740993}))
    assert json.loads(target.params) == {"name": "read", "_meta": {"traceparent": "00"}, "extra": 9007199254740993}


def test_a_meta_of_nothing_but_the_envelope_is_left_out() -> None:
    target = resolve(snapshot(), request(params={"_meta": {"progressToken": 7}}))
    assert json.loads(target.params) == {"name": "read"}


def test_what_an_agent_may_not_see_is_unknown() -> None:
    assert refused(request(caller=LIMITED)) == "unknown_tool"
    assert resolve(snapshot(), request(name="mail__send", caller=LIMITED)).name == "send"
    assert refused(request(name="read", scope="files", caller=LIMITED)) == "not_found"


def test_an_upstream_that_is_switched_off_is_unknown() -> None:
    off = snapshot(upstreams=(msgspec.structs.replace(FILES, enabled=False), MAIL))
    assert refused(request(), off) == "unknown_tool"
    assert [one.name for one in visible_upstreams(off, ANA, None)] == ["mail"]


def test_an_unknown_scope_is_not_found() -> None:
    assert refused(request(scope="nowhere")) == "not_found"


def test_prompts_pass_unless_they_are_blocked() -> None:
    blocked = definition(FILES, "rude", kind="prompt", status="blocked")
    assert resolve(snapshot(), request("prompts/get", "files__greet")).name == "greet"
    assert refused(request("prompts/get", "files__rude"), snapshot(blocked)) == "tool_not_trusted"
    assert refused(request("prompts/get", "files__none")) == "unknown_prompt"


def test_a_listed_resource_belongs_to_who_lists_it() -> None:
    target = resolve(snapshot(), request("resources/read", "file:///notes", params={"uri": "file:///notes"}))
    assert (target.upstream.name, target.name) == ("files", "file:///notes")


def test_a_template_gives_its_resources_an_owner() -> None:
    target = resolve(snapshot(), request("resources/read", "mail://17/body"))
    assert target.upstream.name == "mail"
    assert target.definition is not None
    assert target.definition.kind == "template"


def test_a_wrapped_uri_names_its_upstream() -> None:
    double = definition(MAIL, "file:///notes", kind="resource")
    target = resolve(snapshot(double), request("resources/read", "gw+mail:file:///notes"))
    assert (target.upstream.name, target.name) == ("mail", "file:///notes")


def test_an_unlisted_uri_is_unknown_but_within_a_scope_the_upstream_decides() -> None:
    assert refused(request("resources/read", "file:///other")) == "unknown_resource"
    target = resolve(snapshot(), request("resources/read", "file:///other", scope="files"))
    assert target.definition is None


def test_a_blocked_resource_is_out_of_reach() -> None:
    blocked = definition(MAIL, "mail://secret", kind="resource", status="blocked")
    assert refused(request("resources/read", "mail://secret"), snapshot(blocked)) == "unknown_resource"


@pytest.mark.parametrize(
    ("ref", "upstream", "sent"),
    [
        (
            {"type": "ref/prompt", "name": "files__greet", "x": 1},
            "files",
            {"type": "ref/prompt", "name": "greet", "x": 1},
        ),
        (
            {"type": "ref/resource", "uri": "mail://{id}/body"},
            "mail",
            {"type": "ref/resource", "uri": "mail://{id}/body"},
        ),
    ],
)
def test_completion_goes_where_its_reference_points(ref: object, upstream: str, sent: object) -> None:
    target = resolve(snapshot(), request("completion/complete", "", params={"ref": ref}))
    assert target.upstream.name == upstream
    assert json.loads(target.params)["ref"] == sent


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        ({"type": "ref/prompt", "name": "none"}, "unknown_prompt"),
        ({"type": "ref/resource"}, "unknown_resource"),
        ({"type": "ref/tool"}, "invalid_params"),
        ([], "invalid_params"),
    ],
)
def test_a_reference_to_nothing_is_refused(ref: object, code: str) -> None:
    assert refused(request("completion/complete", "", params={"ref": ref})) == code


def test_find_and_owner_agree_on_who_may_see() -> None:
    known = snapshot()
    assert find(known, LIMITED, None, "tool", "files__read") is None
    with pytest.raises(Refused):
        owner_of(known, LIMITED, None, "file:///notes")


def test_a_refusal_of_a_known_tool_says_which_one_it_was() -> None:
    pending = definition(FILES, "later", status="pending_review")
    with pytest.raises(Untrusted) as caught:
        resolve(snapshot(pending), request(name="files__later"))
    assert caught.value.target.definition == pending
    assert caught.value.code == "tool_not_trusted"


@pytest.mark.parametrize(
    ("method", "name", "scope", "definition_id"),
    [
        ("tools/call", "files__read", None, "def_files_tool_read"),
        ("tools/call", "read", "files", "def_files_tool_read"),
        ("tools/call", "read", None, None),
        ("tools/call", "read", "nowhere", None),
        ("tools/call", "gw+files:read", None, None),
        ("prompts/get", "files__greet", None, "def_files_prompt_greet"),
        ("resources/read", "file:///notes", None, "def_files_resource_file:///notes"),
        ("resources/read", "gw+files:file:///notes", None, "def_files_resource_file:///notes"),
        ("resources/read", "file:///ssn-123", "files", None),
        ("completion/complete", "", None, None),
    ],
)
def test_what_the_catalogue_knows_is_found_for_the_record_whoever_may_see_it(
    method: str, name: str, scope: str | None, definition_id: str | None
) -> None:
    found = catalogued(snapshot(), request(method, name, scope=scope, caller=LIMITED))
    assert (found.definition.id if found is not None and found.definition is not None else None) == definition_id


def read(known: Snapshot, uri: str, scope: str | None = None) -> str:
    """The name of the upstream that a read goes to, or the code of the refusal."""
    try:
        return resolve(known, request("resources/read", uri, scope=scope)).upstream.name
    except Refused as refused:
        return refused.code


@pytest.mark.parametrize("scope", [None, "mail"])
@pytest.mark.parametrize("wrap", ["", "gw+mail:"])
def test_a_blocked_resource_is_out_of_reach_by_every_way_to_it(scope: str | None, wrap: str) -> None:
    exact = definition(MAIL, "mail://7/body", kind="resource", status="blocked")
    known = snapshot(exact)
    assert read(known, "mail://7/body" if scope else wrap + "mail://7/body", scope) == "unknown_resource"
    assert read(known, "mail://8/body", scope) == "mail"


def test_what_a_blocked_template_covers_is_out_of_reach_even_when_it_is_very_long() -> None:
    secret = definition(MAIL, "vault://{name}", kind="template", status="blocked")
    for uri in ("vault://a", "vault://{name}", "vault://" + "a" * LONGEST_URI):
        assert read(snapshot(secret), uri, "mail") == "unknown_resource"
        assert read(snapshot(secret), "gw+mail:" + uri) == "unknown_resource"
    listed = definition(MAIL, "vault://open", kind="resource")
    assert read(snapshot(secret, listed), "vault://open") == "mail"


def test_a_wrapped_uri_that_is_not_listed_is_the_upstreams_to_judge() -> None:
    assert read(snapshot(), "gw+mail:ui://view") == "mail"
    assert read(snapshot(), "gw+nobody:ui://view") == "unknown_resource"
    assert read(snapshot(), "gw+mail") == "unknown_resource"
    target = resolve(snapshot(), request("resources/read", "gw+mail:a:b:c"))
    assert json.loads(target.params)["uri"] == "a:b:c"


TEXTS = st.text("ab/", max_size=6)


@given(st.lists(TEXTS, min_size=1, max_size=5), TEXTS | st.text("ab/", max_size=30))
def test_a_template_covers_what_its_expressions_can_stand_for(literals: list[str], uri: str) -> None:
    template = definition(MAIL, "{x}".join(literals), kind="template")
    known = apply(Snapshot("default"), Delta(revisions={}, upstreams=(MAIL,), definitions=(template,)))
    pattern = ".*".join(re.escape(literal) for literal in literals)
    covered = re.fullmatch(pattern, uri) is not None or uri == template.name
    assert (read(known, uri) == "mail") is covered


def test_no_template_costs_more_than_the_length_of_the_uri() -> None:
    # backtracking over this would outlive the test run
    template = definition(MAIL, "a{b}" * 40 + "z", kind="template")
    assert read(snapshot(template), "a" * LONGEST_URI) == "unknown_resource"
