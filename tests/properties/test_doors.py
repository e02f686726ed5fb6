"""Both doors ask the same rules: whatever a list leaves out no call gets, and what is listed and plain goes through."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from callgate.call import model as m
from callgate.mcp import listing
from callgate.model.rule import Contents, Injection, Limit, Match, Rule, Times
from tests.call.world import ANA, FILES, call, definition, request, snapshot

WRITE = definition(FILES, "write", annotations={"readOnlyHint": False})
NAMES = st.lists(st.sampled_from(["read", "r*", "*", "write", "files", "mail"]), max_size=2).map(tuple)
MATCHES = st.builds(
    Match,
    tool=NAMES,
    upstream=st.lists(st.sampled_from(["files", "mail", "*"]), max_size=1).map(tuple),
    role=st.lists(st.sampled_from(["member", "admin"]), max_size=1).map(tuple),
    annotation=st.lists(st.sampled_from(["readOnlyHint=false", "destructiveHint=true"]), max_size=1).map(tuple),
    risk=st.lists(st.sampled_from(["none", "high"]), max_size=1).map(tuple),
    network=st.lists(st.sampled_from(["10.0.0.0/8", "192.168.0.0/16"]), max_size=1).map(tuple),
    times=st.sampled_from([None, Times(since="00:00", until="24:00"), Times(days=("mon",))]),
)
KINDS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"effect": "deny"}, {"effect": "allow"}, {"effect": "require_approval"},
        {"effect": "deny", "when": "args.n == 1"}, {"effect": "deny", "when": "person.email == 'ana@acme.test'"},
        {"effect": "deny", "limit": Limit("rate", 1)}, {"effect": "deny", "dlp": Contents()},
        {"effect": "record", "dlp": Contents()}, {"effect": "deny", "injection": Injection()},
        {"effect": "deny", "mode": "shadow"}, {"effect": "deny", "args_schema": {"required": ["n"]}},
    ]
)  # fmt: skip
RULES = st.lists(st.tuples(MATCHES, KINDS), max_size=4).map(
    lambda found: tuple(Rule(f"r{at}", "T", match=match, **kind) for at, (match, kind) in enumerate(found))
)


@given(RULES, st.sampled_from([b"{}", b'{"n":1}', b'{"n":2}']))
def test_lists_and_calls_never_disagree(rules: tuple[Rule, ...], arguments: bytes) -> None:
    known = snapshot(WRITE, rules=rules)
    listed = {entry.public for entry in listing.entries(known, ANA, None, "tool", "10.1.2.3")}
    for name in ("files__read", "files__write", "mail__send"):
        params = {"name": name, "arguments": msgspec.Raw(arguments)}
        effects = call(request(name=name, params=params, address="10.1.2.3", at=1), known).start()
        refused = any(isinstance(one, m.RecordOutcome) for one in effects)
        if name not in listed:
            assert refused or _on_the_clock(rules)
        elif not any(rule.when or rule.dlp or rule.args_schema for rule in rules):
            assert not refused or _on_the_clock(rules)


def _on_the_clock(rules: tuple[Rule, ...]) -> bool:
    """A list is made now and the call of the test in 1970: rules with a day of the week may say either."""
    return any(rule.match.times is not None and rule.match.times.days for rule in rules)
