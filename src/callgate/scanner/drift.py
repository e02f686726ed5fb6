"""What a change of a definition brings in: the added text alone, new parameters, flips and jumps. Pure, near-linear.

That something changed is known by the fingerprint; this explains it. Added text is read without what stood there
before, so that a long honest description hides nothing, and weighs one level more than in a new definition: the
reviewer said yes to something else. What cannot be told apart is read as added.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence

import msgspec

from callgate.model.finding import SEVERITIES, Finding, rank
from callgate.scanner.purpose import Fault, found, names, purpose
from callgate.scanner.structure import hints
from callgate.scanner.structure_params import parameter_findings, sensitive_parameter
from callgate.scanner.surface import Leaf, Surface, surface

Scan = Callable[[str, bytes], Sequence[Finding]]
Run = tuple[Leaf, int, str]  # the leaf, where the added text begins in it, the added text

_MOST_RUNS = 200
_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*\s*|[.!?\n]+\s*")
_FIX = "Ask the author why this was added, or stay with the version that was reviewed."
_FLIP = Fault(
    "drift.annotation", "drift", "An annotation says the opposite of what it said when it was reviewed.", _FIX
)
_PARAMETER = Fault("drift.sensitive_parameter", "dangerous_parameter", "A new parameter asks for sensitive data.", _FIX)
_SCRIPT = Fault(
    "drift.script", "drift", "The added text is written in a script that the definition did not have.", _FIX
)
_LANGUAGE = Fault("drift.language", "drift", "The added text is in another language than the rest.", _FIX)
_LENGTH = Fault(
    "drift.length", "drift", "The definition is more than three times as long as when it was reviewed.", _FIX
)
_ENGLISH = names(
    "the a an and or of to in for on with by from is are be this that it as at if not can will returns return use get "
    "list all given which when your you"
)
_SCRIPTS = (
    ("latin", re.compile("[A-Za-z\u00c0-\u024f]")),
    ("greek", re.compile("[\u0370-\u03ff]")),
    ("cyrillic", re.compile("[\u0400-\u052f]")),
    ("hebrew", re.compile("[\u0590-\u05ff]")),
    ("arabic", re.compile("[\u0600-\u06ff\u0750-\u077f]")),
    ("indic", re.compile("[\u0900-\u0dff]")),
    ("thai", re.compile("[\u0e00-\u0eff]")),
    ("hangul", re.compile("[\u1100-\u11ff\uac00-\ud7af]")),
    ("han", re.compile("[\u3040-\u30ff\u3400-\u9fff]")),
)


def drift_findings(kind: str, old_raw: bytes, new_raw: bytes, scan: Scan) -> list[Finding]:
    """The findings about a change, from the version that was reviewed to the one that is listed now."""
    if old_raw == new_raw:
        return []
    old, new = surface(kind, old_raw), surface(kind, new_raw)
    runs = list(added(old, new))
    findings = list(_texts(runs, scan))
    findings.extend(_parameters(old, new))
    findings.extend(_flips(old_raw, new_raw))
    findings.extend(_tongues(old, runs))
    findings.extend(_length(old, new))
    return findings


def added(old: Surface, new: Surface) -> Iterator[Run]:
    """The stretches of the new texts that stand nowhere in the old ones, sentence by sentence."""
    before = {leaf.text for leaf in old.leaves}
    known = {sentence.strip() for leaf in old.leaves for sentence in _SENTENCE.findall(leaf.text)}
    for leaf in new.leaves:
        if leaf.text in before:
            continue
        begin = end = -1
        for match in _SENTENCE.finditer(leaf.text):
            if match[0].strip() in known:
                continue
            if match.start() != end:
                if begin >= 0:
                    yield leaf, begin, leaf.text[begin:end]
                begin = match.start()
            end = match.end()
        if begin >= 0:
            yield leaf, begin, leaf.text[begin:end]


def _texts(runs: list[Run], scan: Scan) -> Iterator[Finding]:
    """What each added text says by itself, one level up; what is too much to be read apart is read as one."""
    for leaf, begin, text in runs[:_MOST_RUNS]:
        for finding in _scanned(text, scan):
            where = {"path": leaf.path, "key": leaf.key, "start": begin + finding.start, "end": begin + finding.end}
            yield msgspec.structs.replace(_raised(finding), **where)
    rest = "\n".join(text for _, _, text in runs[_MOST_RUNS:])
    if rest:
        for finding in _scanned(rest, scan):
            yield msgspec.structs.replace(_raised(finding), path="", start=0, end=0)


def _scanned(text: str, scan: Scan) -> Iterator[Finding]:
    for finding in scan("instructions", json.dumps(text).encode()):
        if rank(finding.severity) >= rank("low"):
            yield finding


def _raised(finding: Finding) -> Finding:
    severity = SEVERITIES[min(rank(finding.severity), len(SEVERITIES) - 1)]
    return msgspec.structs.replace(finding, severity=severity, why=f"Added since it was reviewed. {finding.why}")


def _parameters(old: Surface, new: Surface) -> Iterator[Finding]:
    """New parameters that ask for sensitive data: one level up where the purpose does not need them, else low."""
    known = {(leaf.path, leaf.text) for leaf in old.leaves if leaf.role == "param_name"}
    fresh = tuple(leaf for leaf in new.leaves if leaf.role == "param_name" and (leaf.path, leaf.text) not in known)
    judged = parameter_findings(purpose(new.leaves), fresh)
    yield from map(_raised, judged)
    paths = {finding.path for finding in judged}
    for leaf in fresh:
        if leaf.path not in paths and sensitive_parameter(leaf.text):
            yield found(_PARAMETER, leaf, "low")


def _flips(old_raw: bytes, new_raw: bytes) -> Iterator[Finding]:
    before, after = hints(old_raw), hints(new_raw)
    for name, safe in (("readOnlyHint", True), ("destructiveHint", False)):
        was, now = before.get(name), after.get(name)
        if was is safe and now is not safe:
            yield found(_FLIP, Leaf(f"/annotations/{name}", "annotation", ""), "medium")
        elif was is (not safe) and now is safe:
            yield found(_FLIP, Leaf(f"/annotations/{name}", "annotation", ""), "low")


def _tongues(old: Surface, runs: list[Run]) -> Iterator[Finding]:
    """Added texts in another script or language: one finding at most."""
    before = " ".join(_prose(old))
    had = _scripts(before)
    if sum(had.values()) < 20:
        return
    english = _english(before)
    for leaf, begin, text in runs:
        if leaf.key or leaf.role not in {"description", "param_text", "title", "instructions"}:
            continue
        span = (begin, begin + len(text))
        has = _scripts(text)
        if any(count >= 10 and count > sum(has.values()) / 5 and not had[name] for name, count in has.items()):
            yield found(_SCRIPT, leaf, "medium", span)
            return
        if english >= 0.15 and len(text.split()) >= 10 and _english(text) < 0.03:
            yield found(_LANGUAGE, leaf, "low", span)
            return


def _length(old: Surface, new: Surface) -> Iterator[Finding]:
    before, after = (sum(map(len, _prose(one))) for one in (old, new))
    if after > 3 * before and after > before + 500:
        severity = "medium" if after > 10 * before and after > before + 5_000 else "low"
        yield found(_LENGTH, Leaf("", "other", ""), severity)


def _prose(seen: Surface) -> Iterator[str]:
    return (leaf.text for leaf in seen.leaves if not leaf.key and " " in leaf.text)


def _scripts(text: str) -> dict[str, int]:
    if text.isascii():
        return {name: sum(map(str.isalpha, text)) if name == "latin" else 0 for name, _ in _SCRIPTS}
    return {name: len(pattern.findall(text)) for name, pattern in _SCRIPTS}


def _english(text: str) -> float:
    words = re.findall(r"[^\W\d_]+", text.lower())
    return sum(word in _ENGLISH for word in words) / len(words) if words else 0.0
