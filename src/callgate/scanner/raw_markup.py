"""Markup that shows a person something else than it gives a model, and addresses that carry data away. Pure, linear."""

import html
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from callgate.scanner.lexicon import DIRECTIVE, WORDS
from callgate.scanner.raw_characters import Hit

_OPEN_COMMENT = re.compile(r"<!--|\[(?://|comment)\]:\s?(?:#|<>)\s?[(\"']", re.IGNORECASE)
_ENDS = {"<": "-->", "[": "\n"}
_TELLS = DIRECTIVE | frozenset(
    {"always", "never", "must", "send", "call", "read", "write", "use", "get", "give", "tell", "say", "you", "agent"}
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_TAG = re.compile(r"<[A-Za-z][^<>]{0,600}>")
_HIDING = re.compile(
    r"(?i)display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d]*[1-9])|opacity\s*:\s*0(?![.\d]*[1-9])|"
    r"[\"'; ]color\s*:\s*(?:white|transparent|#fff(?:fff)?\b|rgba?\(\s*255\s*,\s*255\s*,\s*255)|"
    r"(?:left|top|text-indent)\s*:\s*-\d{3,}|(?:height|width)\s*:\s*0(?:px)?\s*[;\"']|\shidden(?:[\s>=])"
)
_LINK = re.compile(r"(!?)\[([^\[\]]{0,300})\]\(\s{0,4}<?([A-Za-z][A-Za-z0-9+.\-]{1,12}:[^)\s>]{1,2000})")
_SOURCE = re.compile(r"(?i)\bsrc\s*=\s*[\"']?(https?://[^\s\"'<>]{1,2000}[\"'])")
_CARRIES = re.compile(
    r"(?i)[?&#][^=&#?]{0,60}=(?:[^&#=?]{0,40})(?:\{[^{}]{1,80}\}|<[^<>]{1,80}>|\[[^\[\]]{1,80}\]|%7b|\$[a-z_(]|\.\.\.|"
    r"(?:base64|your|conversation|history|secret|token|user)[_-]?(?:data|history|content|secret|token|here)?)"
)
_SCRIPT = re.compile(
    r"(?i)\bjavascript:[^\s\"'`<>,.)]{2,}|\bvbscript:\w|\bdata:(?:text/html|application/(?:x-)?javascript|image/svg\+xml)[;,]"
)
_ENTITIES = re.compile(r"(?:&#(?:[0-9]{2,7}|[xX][0-9a-fA-F]{2,6});?){8,}")
_HOST = re.compile(r"(?i)\b(?:https?://)?((?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,24})\b")


def markup_hits(text: str) -> Iterator[Hit]:
    """Comments, hidden elements, links and addresses of one text."""
    if "<" in text or "[" in text:
        yield from _comments(text)
        yield from _elements(text)
        yield from _links(text)
    if ":" in text:
        yield from (Hit("raw.script_uri", *match.span()) for match in _SCRIPT.finditer(text))
    if "&#" in text:
        for match in _ENTITIES.finditer(text):
            yield Hit("raw.character_references", *match.span(), "", html.unescape(match[0]))


def _comments(text: str) -> Iterator[Hit]:
    at = 0
    while match := _OPEN_COMMENT.search(text, at):
        ending = _ENDS[match[0][0]]
        found = text.find(ending, match.end())
        at = len(text) if found < 0 else found + (3 if ending == "-->" else 0)
        inner = text[match.end() : min(at, match.end() + 4000)].removesuffix("-->")
        words = [word.lower() for word in _WORD.findall(inner)]
        if len(words) >= 4 and sum(word in WORDS for word in words) >= 2:
            yield Hit("raw.comment", match.start(), at, "" if _TELLS & set(words) else "low", inner.strip())


def _elements(text: str) -> Iterator[Hit]:
    for match in _TAG.finditer(text):
        tag = match[0]
        if len(tag) > 8 and _HIDING.search(tag):
            inner = text[match.end() : match.end() + 200].split("</", 1)[0]
            yield Hit("raw.hidden_element", *match.span(), "" if _WORD.search(inner) else "low", inner.strip())
        for source in _SOURCE.finditer(tag):
            if _CARRIES.search(source[1]):
                yield Hit("raw.data_link", match.start() + source.start(1), match.start() + source.end(1))


def _links(text: str) -> Iterator[Hit]:
    for match in _LINK.finditer(text):
        image, label, address = match.groups()
        if _CARRIES.search(address):
            yield Hit("raw.data_link", *match.span(), "" if image else "medium")
        shown = _HOST.search(label) if "://" in label or label.startswith("www.") else None
        if shown is not None and _site(shown[1]) != _site(_host(address)):
            yield Hit("raw.link_mismatch", *match.span(), "", f"shows {shown[1]}, leads to {_host(address)}")


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _site(host: str) -> str:
    return ".".join(host.lower().rsplit(".", 2)[-2:])
