"""What makes a rule valid: each refusal names the member and what it may hold."""

import msgspec
import pytest

from callgate.errors import Refused
from callgate.model.rule import Approval, Limit, Match, Redact, Rule
from callgate.policy.model import check


def naming(member: str, globs: tuple[str, ...]) -> Match:
    return msgspec.structs.replace(Match(), **{member: globs})


def test_a_good_rule_is_handed_back() -> None:
    rule = Rule("no-deletes", "No deletes", "deny", Match(tool=("*delete*",), unless=Match(team=("sre",))))
    assert check(rule) is rule


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "a" * 65, "ä", "a\n"])
def test_an_odd_id_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="`id`"):
        check(Rule(name, "T", "deny"))


@pytest.mark.parametrize("title", ["", "  ", "x" * 201])
def test_a_title_is_needed_and_short(title: str) -> None:
    with pytest.raises(Refused, match="`title`"):
        check(Rule("r", title, "deny"))


@pytest.mark.parametrize(
    ("effect", "terms", "says"),
    [
        ("deny", Approval(), "belongs to `effect: require_approval`"),
        ("require_approval", Approval(quorum=0), "1 to 10 people"),
        ("require_approval", Approval(quorum=11), "1 to 10 people"),
        ("require_approval", Approval(expires_s=0), "`approval.expires_s`"),
        ("require_approval", Approval(escalate_s=60), "belong together"),
        ("require_approval", Approval(escalate_to=("sre",)), "belong together"),
        ("require_approval", Approval(expires_s=60, escalate_s=60, escalate_to=("sre",)), "before it expires"),
    ],
)
def test_terms_of_an_approval_that_cannot_be_are_refused(effect: str, terms: Approval, says: str) -> None:
    with pytest.raises(Refused, match=says):
        check(Rule("r", "T", effect, approval=terms))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (None, "belong together"),
        (Redact(phase="later"), "`redact.phase` cannot be `later`; it is one of call, result, both"),
        (Redact(action="masc"), "did you mean `mask`"),
        (Redact(kinds=("secrets",)), "did you mean `secret`"),
        (Redact(detectors=("github_tokens",)), "did you mean `github_token`"),
        (Redact(members=("",)), "`redact.members`"),
        (Redact(allowed=("x" * 257,)), "`redact.allowed`"),
    ],
)
def test_what_is_redacted_is_checked(spec: Redact | None, says: str) -> None:
    with pytest.raises(Refused, match=says):
        check(Rule("r", "T", "redact", redact=spec))
    with pytest.raises(Refused, match="belong together"):
        check(Rule("r", "T", "deny", redact=Redact()))
    assert check(Rule("r", "T", "redact", redact=Redact())).redact == Redact()


def test_an_unknown_effect_is_refused_with_the_choices() -> None:
    with pytest.raises(
        Refused, match="one of deny, require_approval, redact, wrap, record, allow; not `forbid`"
    ) as caught:
        check(Rule("r", "T", "forbid"))
    assert "comes with" not in caught.value.sentence


@pytest.mark.parametrize("member", ["upstream", "tool", "person", "role", "team", "agent", "client"])
@pytest.mark.parametrize("globs", [("",), ("x" * 257,), ("a",) * 1001])
def test_globs_are_bounded_in_a_match_and_in_its_exception(member: str, globs: tuple[str, ...]) -> None:
    with pytest.raises(Refused, match=rf"`match\.{member}`"):
        check(Rule("r", "T", "deny", naming(member, globs)))
    with pytest.raises(Refused, match=rf"`match\.unless\.{member}`"):
        check(Rule("r", "T", "deny", Match(unless=naming(member, globs))))


def test_an_exception_holds_no_exception_and_is_not_empty() -> None:
    with pytest.raises(Refused, match="another `unless`"):
        check(Rule("r", "T", "deny", Match(unless=Match(team=("a",), unless=Match(team=("b",))))))
    with pytest.raises(Refused, match="swallow"):
        check(Rule("r", "T", "deny", Match(unless=Match())))


@pytest.mark.parametrize(
    ("effect", "limit", "says"),
    [
        ("allow", Limit("rate", 1), "`limit` goes with"),
        ("redact", Limit("rate", 1), "belong together"),
        ("deny", Limit("often", 1), "`limit.kind` must be one of rate, concurrency, cost"),
        ("deny", Limit("rate", -1), "`limit.most` and `limit.cost` are 0 to"),
        ("deny", Limit("cost", 1, cost=-0.5), "`limit.most` and `limit.cost` are 0 to"),
        ("deny", Limit("rate", float("nan")), "`limit.most` and `limit.cost` are 0 to"),
        ("deny", Limit("rate", float("inf")), "`limit.most` and `limit.cost` are 0 to"),
        ("deny", Limit("rate", 1, window_s=0), "`limit.window_s` is 1 to"),
        ("deny", Limit("rate", 1, per=("house",)), "`limit.per` counts by"),
        ("deny", Limit("rate", 1, field="a"), "belong to `kind: cost`"),
        ("deny", Limit("concurrency", 1, cost=2), "belong to `kind: cost`"),
    ],
)
def test_a_limit_that_cannot_be_counted_is_refused(effect: str, limit: Limit, says: str) -> None:
    with pytest.raises(Refused, match=says):
        check(Rule("r", "T", effect, limit=limit))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(Refused, match="`mode` must be one of enforce, shadow; not `maybe`"):
        check(Rule("r", "T", "deny", mode="maybe"))
