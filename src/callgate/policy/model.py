"""What makes a rule valid. Pure.

Fail closed: what does not exist cannot be saved, so that no rule is taken for one that is carried out.
"""

import re

from callgate.dlp.paths import compiled
from callgate.dlp.redact import ACTIONS
from callgate.errors import Refused
from callgate.model.rule import EFFECTS, LIMITS, MODES, PER, PHASES, Match, Rule
from callgate.policy.choices import wrong, wrong_contents
from callgate.policy.details import TEXTS
from callgate.policy.details import check as check_details
from callgate.policy.expr import condition
from callgate.policy.inside import check as check_inside
from callgate.policy.redact import is_path

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
LISTS = ("upstream", "tool", "person", "role", "team", "agent", "client")
_MAX_GLOBS = 1000
_MAX_DESCRIPTION = 2000
_MAX_OWNER = 200
_MAX_QUORUM = 10
_MAX_AMOUNT = 1e9
_MAX_EXPIRES_S = 2_678_400.0


def check(rule: Rule) -> Rule:
    """The rule itself. Raises `Refused("validation")` naming the member and what it may hold."""
    if _ID.fullmatch(rule.id) is None:
        raise Refused("validation", "A rule's `id` is 1 to 64 characters of a-z, 0-9 and `-`.")
    if not rule.title.strip() or len(rule.title) > 200:
        raise Refused("validation", f"Rule `{rule.id}`: `title` must hold 1 to 200 characters.")
    _check_choice(rule, "effect", EFFECTS)
    _check_choice(rule, "mode", MODES)
    if len(rule.description) > _MAX_DESCRIPTION or len(rule.owner) > _MAX_OWNER:
        raise Refused("validation", f"Rule `{rule.id}`: `description` holds 2000 characters at most, `owner` 200.")
    _check_match(rule.id, rule.match, "match")
    _check_condition(rule)
    _check_redact(rule)
    _check_approval(rule)
    _check_limit(rule)
    check_inside(rule)
    return rule


def _check_limit(rule: Rule) -> None:
    limit = rule.limit
    if limit is None:
        return
    wrong = ""
    if rule.effect not in ("deny", "require_approval"):
        wrong = "`limit` goes with `effect: deny` or `require_approval`: what happens once it is reached."
    elif limit.kind not in LIMITS:
        wrong = f"`limit.kind` must be one of {', '.join(LIMITS)}; not `{limit.kind[:60]}`."
    elif not all(0 <= amount <= _MAX_AMOUNT for amount in (limit.most, limit.cost)):
        wrong = f"`limit.most` and `limit.cost` are 0 to {_MAX_AMOUNT:,.0f}."
    elif not 1 <= limit.window_s <= _MAX_EXPIRES_S:
        wrong = f"`limit.window_s` is 1 to {_MAX_EXPIRES_S:,.0f} seconds."
    elif set(limit.per) - set(PER):
        wrong = f"`limit.per` counts by {', '.join(PER)}, or by nothing for the tenant."
    elif limit.kind != "cost" and (limit.field or limit.cost != 1.0):
        wrong = "`limit.cost` and `limit.field` belong to `kind: cost`."
    if wrong:
        raise Refused("validation", f"Rule `{rule.id}`: {wrong}")


def _check_approval(rule: Rule) -> None:
    terms = rule.approval
    if terms is None:
        return
    if rule.effect != "require_approval":
        raise Refused("validation", f"Rule `{rule.id}`: `approval` belongs to `effect: require_approval`.")
    if not 1 <= terms.quorum <= _MAX_QUORUM:
        raise Refused("validation", f"Rule `{rule.id}`: `approval.quorum` is 1 to {_MAX_QUORUM} people.")
    if not 1 <= terms.expires_s <= _MAX_EXPIRES_S:
        raise Refused("validation", f"Rule `{rule.id}`: `approval.expires_s` is 1 to {_MAX_EXPIRES_S:,} seconds.")
    if bool(terms.escalate_to) != bool(terms.escalate_s) or not 0 <= terms.escalate_s < terms.expires_s:
        raise Refused(
            "validation",
            f"Rule `{rule.id}`: `approval.escalate_s` and `escalate_to` belong together, and an approval has to be "
            "escalated before it expires.",
        )


def _check_choice(rule: Rule, name: str, known: tuple[str, ...]) -> None:
    given = getattr(rule, name)
    if given not in known:
        raise Refused("validation", f"Rule `{rule.id}`: `{name}` must be one of {', '.join(known)}; not `{given}`.")


def _check_redact(rule: Rule) -> None:
    spec = rule.redact
    if (spec is None) != (rule.effect != "redact"):
        raise Refused(
            "validation", f"Rule `{rule.id}`: `effect: redact` and `redact` belong together: give both or none."
        )
    if spec is None:
        return
    odd = (
        wrong("redact.phase", (spec.phase,), PHASES)
        or wrong("redact.action", (spec.action,), ACTIONS)
        or wrong_contents("redact", spec.kinds, spec.detectors)
    )
    if odd:
        raise Refused("validation", f"Rule `{rule.id}`: {odd}")
    for path in filter(is_path, spec.members):
        try:
            compiled(path)
        except Refused as refused:
            raise Refused("validation", f"Rule `{rule.id}`: `redact.members`: {refused.detail}") from None
    for name, texts in (("members", spec.members), ("allowed", spec.allowed)):
        if len(texts) > _MAX_GLOBS or any(not text or len(text) > 256 for text in texts):
            raise Refused("validation", f"Rule `{rule.id}`: `redact.{name}` holds 1000 texts of 1 to 256 characters.")


def _check_condition(rule: Rule) -> None:
    if not rule.when:
        return
    try:
        condition(rule.when)
    except Refused as refused:
        raise Refused("validation", f"Rule `{rule.id}`: `when`, {refused.detail}") from None


def _check_match(rule_id: str, match: Match, where: str) -> None:
    for name in (*LISTS, *TEXTS, "network"):
        globs = getattr(match, name)
        if len(globs) > _MAX_GLOBS or any(not glob or len(glob) > 256 for glob in globs):
            raise Refused(
                "validation", f"Rule `{rule_id}`: `{where}.{name}` holds globs of 1 to 256 characters, at most 1000."
            )
    try:
        check_details(match)
    except Refused as refused:
        raise Refused("validation", f"Rule `{rule_id}`: `{where}`, {refused.detail}") from None
    if match.unless is None:
        return
    if where != "match":
        raise Refused("validation", f"Rule `{rule_id}`: `unless` cannot hold another `unless`.")
    if match.unless == Match():
        raise Refused("validation", f"Rule `{rule_id}`: an empty `unless` would swallow the whole rule.")
    _check_match(rule_id, match.unless, "match.unless")
