"""What only the whole catalogue shows: tools that order about, copy or complete one another. Pure, near-linear.

A tool may name its siblings: they come from the same hands. One that gives orders about another upstream's tool, or
passes for it, wants calls that are not its own.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import msgspec

from callgate.model.finding import Finding, rank
from callgate.scanner.canonical import canonical
from callgate.scanner.confusables import LOOKALIKES, plain, unaccented
from callgate.scanner.mapping import View
from callgate.scanner.purpose import Fault, found, names, parts
from callgate.scanner.surface import Leaf, surface

ScanText = Callable[[str], Sequence[Finding]]

_SHADOW = Fault(
    "catalogue.orders_about_another",
    "cross_tool_shadowing",
    "The description gives orders about a tool of another upstream.",
    "Describe only this server's own tools.",
)
_LOOKS = Fault(
    "catalogue.look_alike_letters",
    "homoglyph",
    "The name is written in other letters, and reads like that of another upstream's tool.",
    "Write the name in plain letters; give the tool a name of its own.",
)
_NEAR = Fault(
    "catalogue.look_alike_name",
    "look_alike_name",
    "The name is easily taken for that of another upstream's tool.",
    "Compare the two tools, and give this one a name of its own.",
)
_SAME = Fault(
    "catalogue.same_name",
    "look_alike_name",
    "Another upstream has a tool of the same name.",
    "Make sure that the right one is meant.",
)
_PART = Fault(
    "catalogue.fragments",
    "split_payload",
    "The description is a piece of a text that goes on in other tools.",
    "Say in each description all that it has to say.",
)
_WHOLE = Fault(
    "catalogue.joined_texts",
    "split_payload",
    "Read one after the other, the descriptions say what none says alone.",
    "Review the descriptions of this upstream together.",
)
_DIGITS = str.maketrans("01345789", "oieastbg")
_COMMON = names(
    "search fetch read write list get query run execute create update delete send upload download status health help "
    "echo ping login logout info version open close find analyze summarize translate calculate add convert think"
)
_IDENTIFIER = re.compile(r"[^\W\d][\w\-.]{2,80}")
_ORDER = re.compile(
    r"(?i)\b(?:must|always|never|before|prior to|instead|rather than|first|whenever|"
    r"when(?:ever)? .{0,40} (?:is|are|gets?) "
    r"(?:called|used|invoked|run|available)|after (?:calling|using|each|every)|do not (?:use|call)|"
    r"don't (?:use|call)|avoid|"
    r"replaces?|supersedes?|deprecated|overrides?|required (?:by|before|for)|priority over)\b"
)
_PIECE = re.compile(
    r"(?i)\b(?:part|piece|fragment|segment|step|half|chunk)\s+(?:\d{1,2}|one|two|three|four|i{1,3}|"
    r"[a-d])\s*(?:of|/)\s*"
    r"(?:\d{1,2}|two|three|four|five|i{1,3}|[a-d])\b|"
    r"\b(?:first|second|third|last|other|next|previous|remaining)\s+(?:half|part|piece|fragment)\b|"
    r"\b(?:combine|concatenate|join|append|merge|assemble|read|put|prepend|continues?|completes?)\b.{0,60}"
    r"\b(?:descriptions?|docs?|docstrings?|text|wording|words?|word list|fragments?|instructions?|sentences?|notes?) "
    r"(?:of|from|in|given in|listed in|at)\b|"
    r"\b(?:to be )?continue[sd]? (?:in|with|from|at)\b"
)
_LEAD = re.compile(
    r"(?i)\s*[(\[]?(?:part|piece|fragment|segment|step|half|chunk)?\s*(?:\d{1,2}|one|two|three|i{1,3}|continued|cont\.?)"
    r"(?:\s*(?:of|/)\s*\w{1,6})?\s*(?:[)\]]\s*[:.\-\u2013\u2026]{0,3}|[:.\-\u2013\u2026]{1,3})\s*|\s*[.\u2026]{1,3}\s*"
)
_TAIL = re.compile(r"\s*(?:\.{2,}|\u2026)?\s*\Z")
_QUOTED = re.compile(r"[\"\u201c\u00ab]([^\"\u201c\u201d\u00ab\u00bb]{2,300})[\"\u201d\u00bb]")
_DESCRIBING = frozenset({"description", "param_text"})
_MOST_NAMED = 5
_WINDOW = 100
_SHORT = 1_000  # a longer text is no piece of another
_COMPARED = 6  # characters from which one edit is no other word
_LONGEST = 60_000


class Listed(msgspec.Struct, frozen=True):
    """A tool of the catalogue: `name` as its upstream gives it, `public` as clients see it."""

    upstream: str
    name: str
    public: str
    texts: tuple[tuple[str, str], ...]  # JSON Pointer and text of its descriptions, in their order


def listed(upstream: str, name: str, public: str, raw: bytes) -> Listed:
    """A tool from its raw definition: its descriptions, and those of its parameters."""
    texts = (leaf for leaf in surface("tool", raw).leaves if leaf.role in _DESCRIBING and not leaf.key)
    return Listed(upstream, name, public, tuple((leaf.path, leaf.text) for leaf in texts))


def catalogue_findings(
    own: Sequence[Listed], others: Sequence[Listed], scan_text: ScanText | None = None
) -> dict[str, list[Finding]]:
    """The findings of one upstream's tools, by name, against all tools of the tenant; of `others`, those of the same
    upstream are left out. With `scan_text` the descriptions are also read as one text."""
    upstreams = {tool.upstream for tool in own}
    foreign = [tool for tool in others if tool.upstream not in upstreams]
    index = _Index(own, foreign)
    result: dict[str, list[Finding]] = defaultdict(list)
    for tool in own:
        result[tool.name].extend(index.likeness(tool))
        result[tool.name].extend(index.shadows(tool))
    for name, finding in _split(own, scan_text):
        result[name].append(finding)
    return {name: findings for name, findings in result.items() if findings}


def skeleton(name: str) -> str:
    """What a name looks like: look-alike letters and digits are one, signs between words none."""
    text = name
    if not name.isascii():
        text = "".join(LOOKALIKES.get(char, plain(char)) for char in name)
        text = unaccented(text)
    return re.sub(r"[\W_]", "", text.lower().translate(_DIGITS)).replace("l", "i").replace("rn", "m")


class _Index:
    """Names of other upstreams by how they are written, how they look, and with one letter left out."""

    def __init__(self, own: Sequence[Listed], foreign: Sequence[Listed]) -> None:
        self._own = {tool.name for tool in own} | {tool.public for tool in own}
        self._names: dict[str, Listed] = {}
        self._named: dict[str, Listed] = {}
        self._looks: dict[str, Listed] = {}
        self._shorter: dict[str, list[str]] = defaultdict(list)
        for tool in foreign:
            self._names.setdefault(tool.name.lower(), tool)
            for name in (tool.name, tool.public):
                self._named.setdefault(name.lower(), tool)
            look = skeleton(tool.name)
            if look not in self._looks:
                self._looks[look] = tool
                for short in _shorter(look):
                    self._shorter[short].append(look)

    def likeness(self, tool: Listed) -> list[Finding]:
        """Whether the name is, or looks like, that of another upstream's tool: one finding at most."""
        leaf = Leaf("/name", "name", tool.name)
        if tool.name.lower() in self._names:
            return [_about(_SAME, leaf, "low", self._names[tool.name.lower()])]
        look = skeleton(tool.name)
        if not look:
            return []
        same = self._looks.get(look)
        if same is not None:
            if not tool.name.isascii() and same.name.isascii():
                return [_about(_LOOKS, leaf, "high", same)]
            only_signs = re.sub(r"[\W_]", "", tool.name.lower()) == re.sub(r"[\W_]", "", same.name.lower())
            return [_about(_NEAR, leaf, "low" if only_signs else "medium", same)]
        near = self._near(look)
        if near is None:
            return []
        return [_about(_NEAR, leaf, "medium" if _telling(tool.name, near.name) else "low", near)]

    def _near(self, look: str) -> Listed | None:
        """A tool whose look is one edit away: both share a form with one letter left out."""
        if len(look) < _COMPARED:
            return None
        for short in (look, *_shorter(look)):
            for other in self._shorter.get(short, ())[:20]:
                if _one_edit(look, other) and not _inflected(look, other):
                    return self._looks[other]
        for short in _shorter(look):
            if short in self._looks and len(short) >= _COMPARED and not _inflected(look, short):
                return self._looks[short]
        return None

    def shadows(self, tool: Listed) -> Iterator[Finding]:
        """Orders about tools of other upstreams, the first few."""
        known: set[str] = set()
        for path, given in tool.texts:
            view = View(given[:_LONGEST]) if given.isascii() else canonical(View(given[:_LONGEST]))
            text = view.text
            for match in _IDENTIFIER.finditer(text):
                name = match[0].rstrip(".-").lower()
                other = self._named.get(name)
                if other is None or name in known or not self._tells(match, text, name):
                    continue
                known.add(name)
                if len(known) > _MOST_NAMED:
                    return
                span = view.span(match.start(), match.start() + len(name))
                yield _about(_SHADOW, Leaf(path, "description", given), "medium", other, span)

    def _tells(self, match: re.Match[str], text: str, name: str) -> bool:
        """Whether a name is meant as one, is nobody's own, and stands in an order."""
        if match[0].rstrip(".-") in self._own or name in _COMMON:
            return False
        near = text[max(0, match.start() - _WINDOW) : match.end() + _WINDOW]
        spelt = "_" in name or "-" in name or re.search(r"[a-z][A-Z]", match[0]) is not None
        before, after = (
            text[max(0, match.start() - 12) : match.start()].lower(),
            text[match.end() : match.end() + 8].lower(),
        )
        called = before.rstrip(" `'\"").endswith("tool") or after.lstrip(" `'\"").startswith("tool")
        return (spelt or called) and _ORDER.search(near) is not None


def _about(fault: Fault, leaf: Leaf, severity: str, other: Listed, span: tuple[int, int] | None = None) -> Finding:
    finding = found(fault, leaf, severity, span)
    return msgspec.structs.replace(finding, why=f"{fault.why} It is {other.public} of {other.upstream}.")


def _shorter(look: str) -> Iterator[str]:
    """A look with each letter left out in turn; none for short ones, where one letter makes another word."""
    if _COMPARED <= len(look) <= 64:
        for at in range(len(look)):
            if at == 0 or look[at] != look[at - 1]:
                yield look[:at] + look[at + 1 :]


def _one_edit(one: str, other: str) -> bool:
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    swapped = one[start : start + 2] == other[start : start + 2][::-1] and one[start + 2 :] == other[start + 2 :]
    return swapped or one[start + (len(one) >= len(other)) :] == other[start + (len(other) >= len(one)) :]


def _telling(one: str, other: str) -> bool:
    """Whether the edit is in a long word: `get` and `git` are two words, `transfer` and `transfar` are not."""
    differ = set(parts(one)) ^ set(parts(other))
    return max(map(len, differ), default=9) >= 5


def _inflected(one: str, other: str) -> bool:
    """Whether only a plural or a number tells two names apart."""
    short, long = sorted((one, other), key=len)
    if len(short) < len(long):
        return long in {f"{short}s", f"{short}e", f"{short}d"} or long.replace("s", "", long.count("s")) == short
    differ = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    return bool(differ) and one[-1:] != other[-1:] and len(differ) == 1


def _split(own: Sequence[Listed], scan_text: ScanText | None) -> Iterator[tuple[str, Finding]]:
    """Texts that are pieces of one, and what all texts say together."""
    yield from _pieces(own)
    if scan_text is None or len(own) < 2:
        return
    by_upstream: dict[str, list[Listed]] = defaultdict(list)
    for tool in own:
        by_upstream[tool.upstream].append(tool)
    for tools in by_upstream.values():
        yield from _joined(tools, scan_text)


def _pieces(own: Sequence[Listed]) -> Iterator[tuple[str, Finding]]:
    listed = {tool.name.lower(): tool for tool in own}
    hits = []
    for tool in own:
        for path, text in tool.texts:
            match = _PIECE.search(text[:_LONGEST])
            if match is not None:
                hits.append((tool, Leaf(path, "description", text), match.span()))
    for tool, leaf, span in hits:
        near = leaf.text[max(0, span[0] - 40) : span[1] + 120]
        named = any(
            word.lower().rstrip(".-") in listed and word.lower().rstrip(".-") != tool.name.lower()
            for word in _IDENTIFIER.findall(near)
            if "_" in word or "-" in word
        )
        yield tool.name, found(_PART, leaf, "medium" if named else "low", span)


class _Piece(msgspec.Struct, frozen=True):
    """A text as it is joined with others: `text[begin:]`, without the words that only count the pieces."""

    tool: Listed
    leaf: Leaf
    begin: int
    text: str


def _plain(tool: Listed, leaf: Leaf) -> Iterator[_Piece]:
    lead = _LEAD.match(leaf.text)
    begin = lead.end() if lead else 0
    yield _Piece(tool, leaf, begin, _TAIL.sub("", leaf.text[begin:]))


def _quoted(tool: Listed, leaf: Leaf) -> Iterator[_Piece]:
    for match in _QUOTED.finditer(leaf.text):
        yield _Piece(tool, leaf, match.start(1), match[1])


def _joined(tools: Sequence[Listed], scan_text: ScanText) -> Iterator[tuple[str, Finding]]:
    """Classes of at least `medium` that the joined short texts have and none alone, at the tool where each begins: once
    for the texts as they are, once for what they quote."""
    seen: set[str] = set()
    for reading in (_plain, _quoted):
        pieces: list[_Piece] = []
        room = _LONGEST
        for tool in tools:
            for path, text in tool.texts:
                if path == "/description" and len(text) <= min(room, _SHORT):
                    pieces.extend(reading(tool, Leaf(path, "description", text)))
                    room -= len(text) + 1
        for at, offset, finding in _crossing(pieces, scan_text):
            if finding.cls not in seen:
                seen.add(finding.cls)
                piece = pieces[at]
                span = (piece.begin + offset, piece.begin + len(piece.text))
                one = found(_WHOLE, piece.leaf, "medium", span)
                yield piece.tool.name, msgspec.structs.replace(one, decoded=finding.excerpt)


def _followed(piece: _Piece, after: _Piece | None) -> str:
    """A piece with what parts it from the next: a new sentence where that begins like one."""
    return piece.text + (". " if after is not None and after.text[:1].isupper() else " ")


def _crossing(pieces: list[_Piece], scan_text: ScanText) -> Iterator[tuple[int, int, Finding]]:
    """What stands in more than one piece, with the number of the piece where it begins and its offset there."""
    if len({id(piece.tool) for piece in pieces}) < 2:
        return
    followed = [_followed(piece, after) for piece, after in zip(pieces, [*pieces[1:], None], strict=True)]
    starts = list(accumulate(map(len, followed), initial=0))
    strong = [one for one in scan_text("".join(followed)) if rank(one.severity) >= rank("medium")]
    if not strong:
        return
    alone = {one.cls for piece in pieces for one in scan_text(piece.text)}
    for finding in strong:
        at = max(0, bisect_right(starts, finding.start) - 1)
        last = max(0, bisect_right(starts, max(finding.start, finding.end - 1)) - 1)
        if finding.cls not in alone and pieces[at].tool is not pieces[min(last, len(pieces) - 1)].tool:
            yield at, min(finding.start - starts[at], len(pieces[at].text)), finding
