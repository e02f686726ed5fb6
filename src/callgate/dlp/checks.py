"""What tells a value from something that only looks like one. Pure; named by the tables.

A check gets the value and the text before and after it on the same line (at most 60 characters each). Fail closed is
the wrong way round here: a check that is unsure says yes, since a value that is not found is a value that leaks.
"""

import base64
import binascii
import ipaddress
import json
import math
import re
from collections import Counter
from collections.abc import Callable

from callgate.dlp import checksums

Check = Callable[[str, str, str], bool]
_PLACEHOLDER = re.compile(
    r"(?i)example|sample|dummy|placeholder|changeme|change[_-]me|redacted|your[_-]|[_-]here|xxxx|0000000|1234567890|"
    r"abcdefgh|\*{3}|\.{3}|<[^>]{1,40}>|\$\{|\{\{|%s|^(?:none|null|true|false|undefined|string|password|secret)$"
)
_KEYWORDS = re.compile(r"(?i)\b(?:tel|phone|mobile|cell|call|fax|sms|whatsapp|contact|mob|ph|telefon|tél|móvil)\b")
_VERSION = re.compile(r"(?i)(?:\bv|\bversion|\brelease|\bbuild|@|==|>=|<=|~=|\^|-)\s*\"?$")
# lengths by country of the IBAN registry (SWIFT, release 99)
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
# issuer ranges: first digits, lengths
_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"3(?:0[0-5]|[689])"), (14, 16, 19)),
    (re.compile(r"6011|64[4-9]|65|622"), (16, 17, 18, 19)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
    (re.compile(r"50|5[6-9]|6"), (12, 13, 14, 15, 16, 17, 18, 19)),
)
_ANYBODY = frozenset(
    ("user", "username", "you", "me", "name", "email", "someone", "test", "example", "foo", "bar", "team", "admin")
)
_KNOWN_FALSE_SSN = frozenset({"078-05-1120", "219-09-9999", "123-45-6789"})


def placeholder(value: str) -> bool:
    """Whether a value stands for one, as in documentation."""
    return _PLACEHOLDER.search(value) is not None or len(set(value)) < min(5, len(value))


def entropy(value: str) -> float:
    """Bits of Shannon entropy for each character."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


def _key(value: str, _before: str, _after: str) -> bool:
    return not placeholder(value)


def _random(value: str, _before: str, _after: str) -> bool:
    """A value of mixed characters that no person would write as a word, an address or a reference."""
    if placeholder(value) or "://" in value or value.startswith(("arn:", "/", "./", "$", "<", "[", "{", "(")):
        return False
    mixed = any(char.isdigit() for char in value) and any(char.isalpha() for char in value)
    return mixed and entropy(value) >= min(3.0, math.log2(len(value)) - 0.4)


def _jwt(value: str, _before: str, _after: str) -> bool:
    head = value.partition(".")[0]
    try:
        found = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(found, dict) and ("alg" in found or "enc" in found)


def _basic(value: str, _before: str, _after: str) -> bool:
    try:
        name, colon, secret = base64.b64decode(value + "=" * (-len(value) % 4)).decode().partition(":")
    except (binascii.Error, ValueError):
        return False
    return bool(colon and secret) and (name + secret).isprintable() and not placeholder(secret)


def _url_password(value: str, _before: str, after: str) -> bool:
    return not placeholder(value) and not value.isdigit() and after.startswith("@")


def _card(value: str, before: str, _after: str) -> bool:
    digits = re.sub(r"[ -]", "", value)
    if before.endswith((".", "-", "_")) or len(set(digits)) < 3:
        return False
    issued = any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in _ISSUERS)
    return issued and checksums.luhn(digits)


def _iban(value: str, _before: str, _after: str) -> bool:
    text = value.replace(" ", "").replace("-", "")
    return len(text) == IBAN_LENGTHS.get(text[:2]) and checksums.mod97(text)


def _ssn(value: str, _before: str, _after: str) -> bool:
    area, group, serial = re.split(r"[- ]", value)
    if value.replace(" ", "-") in _KNOWN_FALSE_SSN or area in ("000", "666") or area[0] == "9":
        return False
    return group != "00" and serial != "0000"


def _phone(value: str, before: str, _after: str) -> bool:
    digits = re.sub(r"\D", "", value)
    if not 8 <= len(digits) <= 15 or len(set(digits)) < 3:
        return False
    return value.lstrip().startswith(("+", "(")) or len(digits) == 10 or _KEYWORDS.search(before) is not None


def _spoken_phone(value: str, before: str, _after: str) -> bool:
    return 7 <= len(re.sub(r"\D", "", value)) <= 15 and _KEYWORDS.search(before) is not None


def _email(value: str, _before: str, after: str) -> bool:
    local, _, domain = value.lower().partition("@")
    if re.match(r":[^\s:]", after) or domain.endswith((".png", ".jpg", ".svg", ".css", ".js", ".py", ".json")):
        return False
    return not (local in _ANYBODY and domain in ("example.com", "example.org", "example.net", "domain.com"))


def _ipv4(value: str, before: str, after: str) -> bool:
    try:
        address = ipaddress.IPv4Address(value)
    except ValueError:
        return False
    if _VERSION.search(before) or after.startswith((".", "-")):
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast or value.startswith("255."))


def _ipv6(value: str, _before: str, _after: str) -> bool:
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified) and value.count(":") >= 3


def _digits(check: Callable[[str], bool]) -> Check:
    """A check digit over the characters without separators."""
    return lambda value, _before, _after: check(re.sub(r"[\s./-]", "", value).upper())


def _dated(digits: str) -> bool:
    """A Swedish personal number: six digits of a date, then Luhn over ten."""
    ten = digits.replace("+", "")[-10:]
    return 1 <= int(ten[2:4]) <= 12 and 1 <= int(ten[4:6]) % 60 <= 31 and checksums.luhn(ten)


CHECKS: dict[str, Check] = {
    "": lambda _value, _before, _after: True,
    "key": _key,
    "random": _random,
    "jwt": _jwt,
    "basic": _basic,
    "url_password": _url_password,
    "card": _card,
    "iban": _iban,
    "ssn": _ssn,
    "phone": _phone,
    "spoken_phone": _spoken_phone,
    "email": _email,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "aadhaar": _digits(checksums.verhoeff),
    "cpf": _digits(checksums.cpf),
    "dni": _digits(checksums.spanish),
    "codice_fiscale": _digits(checksums.italian),
    "nir": _digits(checksums.french),
    "steuer_id": _digits(checksums.mod11_10),
    "ahv": _digits(checksums.ean13),
    "bsn": _digits(lambda digits: checksums.weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1), 11)),
    "pesel": _digits(lambda digits: checksums.weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10)),
    "personnummer": _digits(_dated),
}
