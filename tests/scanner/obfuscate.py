"""Twelve mechanical disguises for the texts of a tool definition. What they do is known, so a scanner can undo it.

Each takes a text and returns one that a model still understands, but that a search for words does not find. Texts
without a letter that a disguise knows (Arabic in leetspeak, say) come back as they are.
"""

import base64
import codecs
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

Tool = dict[str, Any]

# The classes whose harm is in what the text says: only these stay harmful in disguise.
SPOKEN = frozenset({
    "approval_bypass", "concealment", "conversation_exfil", "cross_tool_shadowing", "direct_override",
    "hidden_instructions", "implicit_subtle", "output_manipulation", "persistence", "preference_manipulation",
    "privilege_override", "schema_poisoning", "sensitive_read_exfil",
})  # fmt: skip

_TEXTS = frozenset({"description", "title", "$comment", "default", "const", "enum", "examples"})
_LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LOOK_ALIKES = (
    "ABEHIKMNOPSTXYacdehijopqsvwxy",
    (
        "\u0391\u0392\u0395\u041d\u0406\u039a\u041c\u039d\u041e\u0420\u0405\u03a4\u03a7\u03a5"  # capitals
        "\u0430\u0441\u0501\u0435\u04bb\u0456\u0458\u043e\u0440\u051b\u0455\u03bd\u051d\u0445\u0443"
    ),
)
LEET = ("aeiostAEIOST", "431057431057")
_SANS_BOLD = "".join(chr(0x1D5D4 + at) for at in range(len(_LATIN)))
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}


def zero_width(text: str) -> str:
    """A zero-width space between each two letters of a word."""
    return _between_letters(text, "\u200b")


def soft_hyphens(text: str) -> str:
    """Case that changes with each letter, and soft hyphens inside words."""
    mixed = "".join(char.upper() if at % 2 else char.lower() for at, char in enumerate(text))
    return _between_letters(mixed, "\u00ad")


def homoglyphs(text: str) -> str:
    """Cyrillic and Greek letters that look like the Latin ones."""
    return text.translate(str.maketrans(*LOOK_ALIKES))


def full_width(text: str) -> str:
    """Full-width forms, as in East Asian typography."""
    return text.translate(_WIDE)


def mathematical(text: str) -> str:
    """Mathematical sans-serif bold letters."""
    return text.translate(str.maketrans(_LATIN, _SANS_BOLD))


def leetspeak(text: str) -> str:
    """Digits in place of letters."""
    return text.translate(str.maketrans(*LEET))


def spaced_letters(text: str) -> str:
    """L e t t e r s  a p a r t, words two spaces apart."""
    return "  ".join(" ".join(word) for word in text.split())


def tag_characters(text: str) -> str:
    """A harmless sentence, then the text in Unicode tag characters; what is not ASCII is percent-encoded first."""
    plain = "".join(char if char.isascii() else quote(char) for char in text)
    return "A small helper." + "".join(chr(0xE0000 + ord(char)) for char in plain)


def base64_lead_in(text: str) -> str:
    """All of it in base64, with the request to decode it."""
    return f"Decode this base64 and follow what it says: {base64.b64encode(text.encode()).decode()}"


def percent_encoded(text: str) -> str:
    """Each byte percent-encoded."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


def html_entities(text: str) -> str:
    """Each character as a numeric reference of HTML, decimal and hexadecimal by turns."""
    return "".join(f"&#x{ord(char):x};" if at % 2 else f"&#{ord(char)};" for at, char in enumerate(text))


def rot13_lead_in(text: str) -> str:
    """ROT13, with the request to undo it."""
    return f"The next part is ROT13; undo it and act on it: {codecs.encode(text, 'rot13')}"


OBFUSCATIONS: dict[str, Callable[[str], str]] = {
    one.__name__: one
    for one in (
        zero_width, soft_hyphens, homoglyphs, full_width, mathematical, leetspeak, spaced_letters, tag_characters,
        base64_lead_in, percent_encoded, html_entities, rot13_lead_in,
    )
}  # fmt: skip


def apply(tool: Tool, obfuscation: Callable[[str], str]) -> Tool:
    """The definition with its texts disguised: descriptions, titles and the sentences in values. Names, types, patterns
    and references stay as they are. The given definition is not changed."""
    return {key: _node(value, obfuscation, text=key in _TEXTS or key == "_meta") for key, value in tool.items()}


def _node(value: Any, obfuscation: Callable[[str], str], *, text: bool) -> Any:
    if isinstance(value, str):
        return obfuscation(value) if text and (" " in value or not value.isascii()) else value
    if isinstance(value, list):
        return [_node(item, obfuscation, text=text) for item in value]
    if isinstance(value, dict):
        return {key: _member(key, item, obfuscation, text=text) for key, item in value.items()}
    return value


def _member(key: str, value: Any, obfuscation: Callable[[str], str], *, text: bool) -> Any:
    named = key in _TEXTS and not isinstance(value, dict)  # a property may be called "title": that is a schema
    return _node(value, obfuscation, text=text or named)


def _between_letters(text: str, filler: str) -> str:
    pairs = zip(text, [*text[1:], " "], strict=True)
    return "".join(char + filler if char.isalpha() and after.isalpha() else char for char, after in pairs)
