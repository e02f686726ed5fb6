"""The layer that needs no language: what a string holds that no honest definition does, whatever it says. Pure.

Fail closed: a text is reported by its characters alone, before anything is decoded or understood. Honest uses of the
same characters pass; where such exist the severity is at most medium. Critical is only hidden text that reads as
text.
"""

import re
from collections import Counter
from collections.abc import Iterator

import msgspec

from callgate.fingerprints.diff import visible
from callgate.model.finding import Finding
from callgate.scanner.raw_characters import Hit, ascii_hits, unicode_hits
from callgate.scanner.raw_markup import markup_hits
from callgate.scanner.surface import Leaf

_MOST = 3  # findings of one rule in one text: the others say nothing new
_EXCERPT = 200
_NAMES = frozenset({"name", "param_name"})
_HARMLESS = re.compile(r"[\w ./:\-]{0,200}", re.ASCII)
_UNSEEN = "Remove these characters; nothing that a person can read is lost."


class Rule(msgspec.Struct, frozen=True):
    """What a rule's findings say. `version` grows with every change of what it matches."""

    cls: str
    severity: str
    why: str
    fix: str = _UNSEEN
    version: int = 1


RULES: dict[str, Rule] = {
    "raw.tag_characters": Rule(
        "invisible_text",
        "high",
        "Unicode tag characters are an invisible copy of ASCII: models read them, people cannot.",
    ),
    "raw.variation_selectors": Rule(
        "invisible_text", "high", "Variation selectors in a row draw nothing and can carry any hidden bytes."
    ),
    "raw.zero_width": Rule(
        "invisible_text", "high", "Characters without width break words apart for filters, or carry hidden bits."
    ),
    "raw.bidi_override": Rule(
        "invisible_text", "high", "An override of the direction shows people other text than the model reads."
    ),
    "raw.bidi_embedding": Rule(
        "invisible_text", "medium", "Direction controls without right-to-left text reorder what people see."
    ),
    "raw.direction_mark": Rule(
        "invisible_text", "low", "Direction marks without right-to-left text have no effect to see."
    ),
    "raw.blank_letter": Rule("invisible_text", "medium", "Letters that draw nothing hide or part words."),
    "raw.soft_hyphen": Rule("invisible_text", "low", "A soft hyphen is not drawn and parts a word for filters."),
    "raw.interlinear": Rule(
        "invisible_text", "high", "Annotation controls have no use in a definition and are not drawn."
    ),
    "raw.noncharacter": Rule(
        "invisible_text", "medium", "These code points are no characters; readers treat them differently."
    ),
    "raw.private_use": Rule("invisible_text", "low", "What private-use characters show depends on the reader's font."),
    "raw.line_separator": Rule(
        "invisible_text", "low", "Unusual line ends: what one reader shows as one line is two to another."
    ),
    "raw.control": Rule("control_characters", "medium", "Control characters change what a terminal or a log shows."),
    "raw.terminal_escape": Rule(
        "terminal_escape",
        "high",
        "Terminal escape sequences can hide, erase or overwrite what a reviewer sees.",
        "Remove the escape sequences; write them out (\\x1b[…) where a text is about them.",
    ),
    "raw.padding": Rule(
        "padding",
        "high",
        "So much blank space pushes the text behind it out of sight.",
        "Remove the blank space, and read what follows it.",
    ),
    "raw.combining_marks": Rule(
        "obfuscated_text", "medium", "Piles of combining marks make text unreadable for filters."
    ),
    "raw.styled_letters": Rule(
        "obfuscated_text",
        "medium",
        "Letters from symbol blocks read like plain ones but do not match them.",
        "Write the text in plain letters.",
    ),
    "raw.mixed_script": Rule(
        "homoglyph",
        "medium",
        "The word mixes letters of several scripts that look alike.",
        "Write the word in one script; compare it with the name that it resembles.",
    ),
    "raw.comment": Rule(
        "hidden_markup",
        "medium",
        "A comment is not shown where the text is rendered, but the model reads it.",
        "Say it in the open or remove it.",
    ),
    "raw.hidden_element": Rule(
        "hidden_markup",
        "high",
        "The element is styled so that people do not see it; the model reads it.",
        "Say it in the open or remove it.",
    ),
    "raw.data_link": Rule(
        "data_link",
        "high",
        "Rendering this address sends what is put into it to a server, without a click for images.",
        "Remove the address, or what is to be filled into it.",
    ),
    "raw.link_mismatch": Rule(
        "phishing_link", "medium", "The link shows one site and leads to another.", "Show the address that it leads to."
    ),
    "raw.script_uri": Rule(
        "script_uri", "medium", "An address that runs code or carries a page of its own.", "Remove the address."
    ),
    "raw.character_references": Rule(
        "encoded_payload",
        "medium",
        "Text written as numbers of characters is read by models and by nobody else.",
        "Write the text in plain letters.",
    ),
    "raw.length": Rule(
        "abnormal_length", "low", "The text is far longer than those of honest definitions.", "Shorten the text."
    ),
}


def raw_findings(leaf: Leaf) -> list[Finding]:
    """The findings of one string, by place. Never raises, whatever the text."""
    if _HARMLESS.fullmatch(leaf.text) and "    " not in leaf.text and "script:" not in leaf.text:
        return []
    seen: Counter[str] = Counter()
    findings = []
    for hit in _hits(leaf.text):
        seen[hit.rule] += 1
        if seen[hit.rule] <= _MOST:
            findings.append(_finding(leaf, hit))
    return sorted(findings, key=lambda finding: (finding.start, finding.end, finding.rule))


def _hits(text: str) -> Iterator[Hit]:
    yield from ascii_hits(text)
    if not text.isascii():
        yield from unicode_hits(text)
    yield from markup_hits(text)
    if len(text) > 20_000:
        yield Hit("raw.length", 0, len(text), "medium" if len(text) > 100_000 else "")


def _finding(leaf: Leaf, hit: Hit) -> Finding:
    rule = RULES[hit.rule]
    severity = hit.severity or rule.severity
    if hit.rule == "raw.mixed_script" and leaf.role in _NAMES:
        severity = "high"
    return Finding(
        rule=hit.rule,
        version=rule.version,
        cls=rule.cls,
        severity=severity,
        path=leaf.path,
        start=hit.start,
        end=hit.end,
        excerpt=shown(leaf.text[hit.start : hit.end]),
        decoded=shown(hit.decoded),
        why=rule.why,
        fix=rule.fix,
        key=leaf.key,
    )


def shown(text: str) -> str:
    """At most 200 characters of a text, in which nothing hides and nothing acts."""
    short = visible(text[: _EXCERPT + 1])
    return short if len(short) <= _EXCERPT else short[: _EXCERPT - 1] + "…"
