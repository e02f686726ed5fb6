"""What the shape of a definition says, whatever its words: annotations, parameters, proposed values. Pure.

Fail closed where it is certain, quiet where it is not: a real tool with an unusual parameter is no attack, so a name
counts for more than `low` only where the tool's own purpose has no use for it. Never raises.
"""

import json
import re
from typing import Any

from callgate.model.finding import Finding
from callgate.scanner.purpose import Fault, Purpose, found, names, parts, purpose
from callgate.scanner.structure_params import parameter_findings
from callgate.scanner.structure_values import value_findings
from callgate.scanner.surface import Leaf

_READ_ONLY = Fault(
    "structure.read_only_hint",
    "annotation_contradiction",
    "The annotations say that nothing is changed, the name or the description says otherwise.",
    "Correct readOnlyHint: clients skip the confirmation of read-only tools.",
)
_DESTRUCTIVE = Fault(
    "structure.destructive_hint",
    "annotation_contradiction",
    "The annotations say that nothing is destroyed, the name or the description says otherwise.",
    "Correct destructiveHint: clients skip the confirmation of harmless tools.",
)
_CLAIM = Fault(
    "structure.read_only_claim",
    "annotation_contradiction",
    "The description says read-only, and a parameter makes the tool write.",
    "Say in the description that the tool can write, or remove the parameter.",
)
_DESTROY = names("delete drop purge truncate wipe erase destroy shred uninstall terminate nuke")
_CHANGE = _DESTROY | names(
    "remove write overwrite send post insert modify upload transfer pay deploy install kill cancel transmit "
    "create update set add edit move rename reset disable enable revoke grant publish charge refund withdraw"
)
_WEAK = names("set add post enable disable move reset update create edit")  # nouns too, or of the caller's own state
_VERBS = _DESTROY | names("write overwrite send insert modify upload transfer pay")  # last words, too
_LOOKS_ON = names(
    "get list read search find query show describe fetch check view count validate preview simulate test generate "
    "plan diff compare is has can explain analyze analyse estimate lookup browse download export inspect retrieve "
    "summarize suggest recommend draft verify calculate convert parse lint dry monitor watch trigger report scan "
    "audit"
)
_INFLECTED = {
    **{verb: verb for verb in _CHANGE},
    **{(f"{verb}s" if verb[-1] not in "sh" else f"{verb}es"): verb for verb in _CHANGE},
    "modifies": "modify",
}
_LOST = re.compile(
    r"(?i)\b(?:permanently|irreversibly|irrevocably)\s+(?:and \w+ )?(delet|remov|eras|wip|destroy|drop|purg)\w{0,4}|"
    r"\b(?:delet|wip|eras|destroy|format)(?:e|es|s)\s+(?:all|every|the (?:entire|whole)|your)\s"
)
_NOT = re.compile(r"(?i)\b(?:not|never|without|cannot|can't|doesn't|won't|no|if|would|before|whether)\b[^.]{0,60}$")
_ONLY_READS = re.compile(r"(?i)\bread[- ]?only\b")
_WRITES = re.compile(
    r"(?i)\b(?:write[_ ]mode|allow[_ ]writes?|enables? (?:write|writing)|write[_ ]enabled?|force[_ ]delete)\b"
)
_DISKS = names("disk drive volume partition device filesystem storage")


def structure_findings(kind: str, leaves: tuple[Leaf, ...], raw: bytes) -> list[Finding]:
    """The findings about the shape of a definition; only tools and prompts have any but secrets."""
    own = purpose(leaves)
    findings = []
    if kind == "tool":
        findings.extend(_contradictions(own, leaves, raw))
    if kind in {"tool", "prompt"}:
        findings.extend(parameter_findings(own, leaves))
    findings.extend(value_findings(own, leaves))
    return findings


def hints(raw: bytes) -> dict[str, bool]:
    """The annotations of a tool that are true or false; none where the definition cannot be read."""
    if b"Hint" not in raw and b"\\u" not in raw:
        return {}
    try:
        value: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    annotations = value.get("annotations") if isinstance(value, dict) else None
    if not isinstance(annotations, dict):
        return {}
    return {name: given for name, given in annotations.items() if isinstance(given, bool)}


def _contradictions(own: Purpose, leaves: tuple[Leaf, ...], raw: bytes) -> list[Finding]:
    said = hints(raw)
    name = Leaf("/name", "name", own.name)
    text = Leaf("/description", "description", own.description)
    verb, by_name = _verb(own)
    lost = _lost(own.description)
    if said.get("readOnlyHint") is True:
        if verb and (by_name or verb not in _WEAK):
            severity = "high" if verb in _DESTROY | {"transfer", "pay"} else "medium"
            return [found(_READ_ONLY, name if by_name else text, severity)]
        return [found(_READ_ONLY, text, "high", lost)] if lost else []
    if said.get("destructiveHint") is False:
        if verb in _DESTROY:
            return [found(_DESTRUCTIVE, name if by_name else text, "medium")]
        return [found(_DESTRUCTIVE, text, "medium", lost)] if lost else []
    return _claims(own, leaves, text)


def _verb(own: Purpose) -> tuple[str, bool]:
    """What the tool does to things, "" where it only looks; and whether the name says so."""
    words = parts(own.name)
    for at, word in enumerate(words[:4]):
        if word in _LOOKS_ON:
            return "", True
        if word == "format" and not _DISKS.isdisjoint(words):
            return "destroy", True
        if (
            word in _CHANGE
            and "dry" not in words
            and (at == 0 or word in _VERBS or (word not in _WEAK and words[at + 1 :]))
        ):
            return word, True
    first = own.description.split(None, 1)[0].strip("*#`_:.,").lower() if own.description.strip() else ""
    return _INFLECTED.get(first, ""), False


def _lost(description: str) -> tuple[int, int] | None:
    for match in _LOST.finditer(description[:5000]):
        if not _NOT.search(description[max(0, match.start() - 80) : match.start()]):
            return match.span()
    return None


def _claims(own: Purpose, leaves: tuple[Leaf, ...], text: Leaf) -> list[Finding]:
    claim = _ONLY_READS.search(own.description[:160])
    if claim is None:
        return []
    written = _WRITES.search(own.description, claim.end())
    if written is not None and not _NOT.search(own.description[: written.start()][-80:]):
        return [found(_CLAIM, text, "medium", written.span())]
    for leaf in leaves:
        if leaf.role == "param_name" and leaf.key and _WRITES.search(leaf.text):
            return [found(_CLAIM, leaf, "medium")]
    return []
