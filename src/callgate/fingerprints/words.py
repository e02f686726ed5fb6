"""The difference of two texts, word by word, in bounded time; and the same as a reviewer may see it.

Words are runs of letters and digits; in scripts without spaces each character is one. `diff` keeps every character of
both texts; `shown` names what hides, shortens long stretches that are the same, and says what it left out.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from callgate.fingerprints.align import Budget, pairs
from callgate.fingerprints.show import LookAlikes, neutral

_WORD = re.compile(
    r"(?:(?![\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff])\w){1,64}"
    r"|\s{1,64}|.",
    re.DOTALL,
)
_REACH = 64  # characters that a common beginning or end gives back to reach the edge of a word
_STEP = 4096
_MOST_WORDS = 200_000  # of one side, once the common beginning and end are off
_SAME = 2000  # characters of a stretch that is the same; of a longer one only both ends
_EDGE = 400
_MOST_SHOWN = 100_000  # characters removed or added, each, as shown


class Part(msgspec.Struct, frozen=True):
    """A piece of a text. `op`: equal, removed, added; in what is shown also cut, whose text says what was left out."""

    op: str
    text: str


def diff(old: str, new: str, budget: Budget | None = None) -> tuple[Part, ...]:
    """Parts in order: equal and removed ones make the old text, equal and added ones the new."""
    budget = budget or Budget()
    if old == new:
        return (Part("equal", old),) if old else ()
    head = _reaching(old, shared(old, new), 1)
    tail = _reaching(old, shared(old[head:][::-1], new[head:][::-1]), -1)
    middle = _middle(old[head : len(old) - tail], new[head : len(new) - tail], budget)
    hunks = [("", "", old[:head]), *middle, ("", "", old[len(old) - tail :])]
    return tuple(_parts(_folded(hunks)))


def shown(parts: Iterable[Part], whole: str) -> tuple[Part, ...]:
    """The same, safe to look at. `whole` is the new text, whose script decides what counts as a look-alike."""
    alike = LookAlikes(whole)
    left = {"removed": _MOST_SHOWN, "added": _MOST_SHOWN}
    listed = list(parts)
    found: list[Part] = []
    for at, part in enumerate(listed):
        if part.op == "equal":
            found.extend(_shortened(part.text, first=at == 0, last=at == len(listed) - 1))
            continue
        text, count = _fitting(part.text, left[part.op], alike)
        left[part.op] -= len(text)
        if text:
            found.append(Part(part.op, text))
        if count < len(part.text):
            found.append(Part("cut", f"… ({len(part.text) - count} more characters {part.op}, not shown)"))
    return tuple(found)


def _fitting(text: str, room: int, alike: LookAlikes) -> tuple[str, int]:
    """What fits of a text once all in it is named, and how many of its characters that are."""
    count = min(len(text), room)
    while True:
        found = neutral(alike.named(text[:count]))
        if len(found) <= room:
            return found, count
        count //= 2


def shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    most = min(len(one), len(other))
    at = 0
    while at < most and one[at : at + _STEP] == other[at : at + _STEP]:
        at += _STEP
    at = min(at, most)
    while at < most and one[at] == other[at]:
        at += 1
    return at


def _reaching(text: str, count: int, side: int) -> int:
    """A count of characters at the beginning (1) or end (-1) of the text, less the rest of a word that it cuts."""
    for back in range(min(count, _REACH)):
        if not text[count - back - 1 if side > 0 else back - count].isalnum():
            return count - back
    return max(0, count - _REACH)


def _middle(old: str, new: str, budget: Budget) -> Iterator[tuple[str, str, str]]:
    """Hunks: what was removed, what was added, and what follows on both sides."""
    one, other = _WORD.findall(old), _WORD.findall(new)
    if max(len(one), len(other)) > _MOST_WORDS:
        budget.coarse = True
        yield old, new, ""
        return
    a = b = 0
    for left, right in [*pairs(one, other, budget), (len(one), len(other))]:
        yield "".join(one[a:left]), "".join(other[b:right]), one[left] if left < len(one) else ""
        a, b = left + 1, right + 1


def _folded(hunks: Iterable[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    """Neighbours joined; a blank or a comma between two replaced words is replaced with them: it reads better."""
    removed: list[str] = []
    added: list[str] = []
    same: list[str] = []
    for out, put, after in hunks:
        if out or put:
            between = "".join(same)
            if between and not (any(removed) and any(added) and out and put and _slight(between)):
                yield "".join(removed), "".join(added), between
                removed, added = [], []
            elif between:
                removed.append(between)
                added.append(between)
            removed.append(out)
            added.append(put)
            same = []
        same.append(after)
    yield "".join(removed), "".join(added), "".join(same)


def _slight(text: str) -> bool:
    return len(text) <= 3 and not any(char.isalnum() for char in text)


def _parts(hunks: Iterable[tuple[str, str, str]]) -> Iterator[Part]:
    for removed, added, same in hunks:
        if removed:
            yield Part("removed", removed)
        if added:
            yield Part("added", added)
        if same:
            yield Part("equal", same)


def _shortened(text: str, *, first: bool, last: bool) -> Iterator[Part]:
    if len(text) <= _SAME:
        yield Part("equal", neutral(text))
        return
    if not first:
        yield Part("equal", neutral(text[:_EDGE]))
    left_out = len(text) - (0 if first else _EDGE) - (0 if last else _EDGE)
    yield Part("cut", f"… ({left_out} characters that are the same) …")
    if not last:
        yield Part("equal", neutral(text[-_EDGE:]))
