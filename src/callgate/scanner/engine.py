"""From a definition to its findings: every text, in every reading, by every rule. Pure, deterministic, never raises.

What was hidden or encoded and turns out to be an order is worse than the same order in the open, and weighs more. Fail
closed: whatever could not be read in full is itself a finding.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from callgate.model.finding import SEVERITIES, Finding, rank
from callgate.scanner.combining import Match, Reading
from callgate.scanner.mapping import View
from callgate.scanner.matching import matcher
from callgate.scanner.model import model_findings
from callgate.scanner.raw import raw_findings, shown
from callgate.scanner.structure import structure_findings
from callgate.scanner.surface import Leaf, surface
from callgate.scanner.tables import Rule, tables
from callgate.scanner.views import views

MOST = 100
# classes that mean the same in an answer as in a definition
ORDERS = frozenset(
    {"instruction_override", "hidden_instructions", "concealment", "conversation_exfiltration", "approval_bypass",
     "credential_exfiltration", "privilege_claim", "encoded_payload", "persistence"}
)  # fmt: skip
_NAMES = frozenset({"name", "param_name"})
_TEXTS = frozenset({"title", "description", "param_text", "example", "default", "const", "enum", "other", "annotation"})
_APART = str.maketrans("_-", "  ")
_SPACED = re.compile(r"(?:[^\W\d_][ .\-_*|·]{1,3}){24}")
_PLAIN = frozenset({"words"})  # readings that only part words: nothing was hidden
_JOINED = 60_000  # characters of a definition's texts together that are read as one


def rules_version() -> str:
    """What findings depend on besides the definition: changes with every table and with the engine."""
    return tables().version


def scan(kind: str, raw: bytes, *, second_opinion: bool = False) -> tuple[Finding, ...]:
    """The findings of a definition as it was listed, the worst first, at most 100.

    `second_opinion` asks the statistical model too, which adds `low` at most and removes nothing.
    """
    seen = surface(kind, raw)
    findings: list[Finding] = []
    if seen.cut:
        findings.append(_cut(Leaf("", "other", ""), seen.cut))
    known: dict[tuple[str, str], list[Finding]] = {}
    for leaf in seen.leaves:
        again = known.get((leaf.role, leaf.text))
        if again is None:
            again = known[(leaf.role, leaf.text)] = _leaf(leaf)
            findings.extend(again)
        elif again:
            findings.extend(_leaf(leaf))
    findings.extend(structure_findings(kind, seen.leaves, raw))
    if second_opinion:
        findings.extend(model_findings(seen.leaves))
    findings.extend(_joined(seen.leaves, findings))
    return tuple(sorted(_strongest(findings), key=_order)[:MOST])


def scan_text(text: str) -> tuple[Finding, ...]:
    """The findings of one text that a tool answered, the worst first: what would be an order to an agent anywhere."""
    found = _strongest(_leaf(Leaf("", "result", text)))
    return tuple(sorted((one for one in found if one.cls in ORDERS), key=_order)[:MOST])


def _leaf(leaf: Leaf) -> list[Finding]:
    if not leaf.text or leaf.text.isspace():
        return raw_findings(leaf)
    findings = raw_findings(leaf)
    if spaced := _SPACED.search(leaf.text):
        findings.append(_apart(leaf, *spaced.span()))
    for view in views(leaf.text):
        if view.cut:
            findings.append(_cut(leaf, view.cut))
        findings.extend(_view(leaf, view))
    return findings


def _view(leaf: Leaf, view: View) -> Iterator[Finding]:
    text = view.text.translate(_APART) if leaf.role in _NAMES else view.text
    hits = matcher().hits(text)
    if hits.cut:
        yield _cut(leaf, "The text repeats itself too often: not all of it was weighed.")
    if not hits.by_name:
        return
    reading = Reading(text, hits)
    for rule in _rules(hits.by_name, leaf.role):
        for match in reading.matches(rule):
            hidden = bool(view.how) and view.new(match.start, match.end)
            if view.how and not hidden:
                continue
            hidden = hidden and not _PLAIN.issuperset(view.how)
            if hidden or not rule.hidden:
                yield _finding(leaf, view, match, hidden=hidden)


def _rules(names: Iterable[str], role: str) -> Iterator[Rule]:
    for rule in tables().rules:
        if (not rule.roles or role in rule.roles) and _possible(rule, names):
            yield rule


def _possible(rule: Rule, names: Iterable[str]) -> bool:
    if rule.near:
        return all(any(name in names for name in part.split("|")) for part in rule.near) or rule.id in names
    return rule.id in names


def _finding(leaf: Leaf, view: View, match: Match, *, hidden: bool) -> Finding:
    rule = match.rule
    start, end = view.span(match.start, match.end)
    severity = "low" if match.lowered and not hidden else rule.severity
    if hidden and severity != "low":
        severity = SEVERITIES[min(rank(severity), len(SEVERITIES) - 1)]
    return Finding(
        rule=rule.id,
        version=rule.version,
        cls=rule.cls,
        severity=severity,
        path=leaf.path,
        start=start,
        end=end,
        excerpt=shown(leaf.text[start:end]),
        decoded=shown(view.text[match.start : match.end]) if hidden else "",
        why=rule.why,
        fix=rule.fix,
        key=leaf.key,
    )


def _joined(leaves: tuple[Leaf, ...], findings: list[Finding]) -> list[Finding]:
    """What only the texts of a definition together say: an order that was split over its fields."""
    texts = [leaf for leaf in leaves if leaf.role in _TEXTS and not leaf.key and " " in leaf.text.strip()]
    if len(texts) < 2:
        return []
    classes = {finding.cls for finding in findings}
    starts, pieces, length = [], [], 0
    for leaf in texts:
        starts.append(length)
        pieces.append(leaf.text)
        length += len(leaf.text) + 1
        if length > _JOINED:
            break
    whole = " ".join(pieces)
    found = []
    view = views(whole)[0]
    reading = Reading(view.text, matcher().hits(view.text))
    for rule in tables().rules:
        if rule.joined and not rule.hidden and rule.cls not in classes:
            for match in reading.matches(rule):
                start, end = view.span(match.start, match.end)
                at = bisect_right(starts, start) - 1
                leaf = texts[at]
                within = (start - starts[at], min(end - starts[at], len(leaf.text)))
                found.append(_spread(leaf, within, match, whole[start:end]))
    return found


def _spread(leaf: Leaf, span: tuple[int, int], match: Match, said: str) -> Finding:
    rule = match.rule
    return Finding(
        rule=rule.id,
        version=rule.version,
        cls=rule.cls,
        severity="low" if match.lowered else rule.severity,
        path=leaf.path,
        start=span[0],
        end=max(span),
        excerpt=shown(said),
        why=f"{rule.why} The parts stand in several texts of the definition.",
        fix=rule.fix,
    )


def _apart(leaf: Leaf, start: int, end: int) -> Finding:
    return Finding(
        rule="engine.spaced_letters",
        version=1,
        cls="obfuscated_text",
        severity="medium",
        path=leaf.path,
        start=start,
        end=end,
        excerpt=shown(leaf.text[start:end]),
        why="Letters that are set apart one by one are read by models and missed by filters.",
        fix="Write the text in plain words.",
        key=leaf.key,
    )


def _cut(leaf: Leaf, why: str) -> Finding:
    return Finding(
        rule="engine.too_large",
        version=1,
        cls="too_large",
        severity="medium",
        path=leaf.path,
        start=0,
        end=len(leaf.text),
        excerpt=shown(leaf.text),
        why=why,
        fix="Shorten or simplify the definition so that all of it can be read.",
        key=leaf.key,
    )


def _strongest(findings: list[Finding]) -> list[Finding]:
    """One finding of a class for each stretch: the strongest, of equal ones the first and longest."""
    kept: dict[tuple[str, str, bool], list[Finding]] = {}
    for finding in sorted(findings, key=lambda each: (-rank(each.severity), each.start, -each.end, each.rule)):
        place = kept.setdefault((finding.cls, finding.path, finding.key), [])
        if len(place) <= MOST and not any(
            (other.start < finding.end and finding.start < other.end) or _same(other, finding) for other in place
        ):
            place.append(finding)
    return [finding for place in kept.values() for finding in place]


def _same(one: Finding, other: Finding) -> bool:
    return (one.start, one.end) == (other.start, other.end)


def _order(finding: Finding) -> tuple[int, str, int, int, str]:
    return -rank(finding.severity), finding.path, finding.start, finding.end, finding.rule
