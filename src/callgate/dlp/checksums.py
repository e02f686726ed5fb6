"""Check digits of published numbering schemes. Pure; each takes the characters without separators."""

import zlib

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# the multiplication and permutation tables of the dihedral group D5 (Verhoeff 1969)
_D5 = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 0, 6, 7, 8, 9, 5), (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7), (4, 0, 1, 2, 3, 9, 5, 6, 7, 8), (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2), (7, 6, 5, 9, 8, 2, 1, 0, 4, 3), (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)  # fmt: skip
_P5 = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 5, 7, 6, 2, 8, 3, 0, 9, 4), (5, 8, 0, 3, 7, 9, 6, 1, 4, 2),
    (8, 9, 1, 6, 0, 4, 3, 5, 2, 7), (9, 4, 5, 3, 1, 2, 6, 8, 7, 0), (4, 2, 8, 6, 5, 7, 3, 9, 0, 1),
    (2, 7, 9, 3, 8, 0, 6, 4, 1, 5), (7, 0, 4, 6, 9, 1, 3, 2, 5, 8),
)  # fmt: skip
_ITALIAN_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + at % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def mod97(text: str) -> bool:
    """ISO 7064 MOD 97-10 as ISO 13616 has it: the first four characters moved to the end, letters as 10 to 35."""
    moved = text[4:] + text[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def verhoeff(digits: str) -> bool:
    """Verhoeff's scheme, of Aadhaar numbers."""
    state = 0
    for at, digit in enumerate(reversed(digits)):
        state = _D5[state][_P5[at % 8][int(digit)]]
    return state == 0


def weighted(digits: str, weights: tuple[int, ...], modulus: int) -> bool:
    """Whether the weighted sum of all digits is a multiple."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % modulus == 0


def mod11_10(digits: str) -> bool:
    """ISO 7064 MOD 11,10, of the German tax number."""
    product = 10
    for digit in digits[:-1]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[-1])


def ean13(digits: str) -> bool:
    """GS1 general specifications, 7.9."""
    return sum(int(digit) * (1 + 2 * (at % 2)) for at, digit in enumerate(digits)) % 10 == 0


def cpf(digits: str) -> bool:
    """Both check digits of a Brazilian CPF; eleven equal digits are none."""
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(int(digit) * (length + 1 - at) for at, digit in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != int(digits[length]):
            return False
    return True


def spanish(text: str) -> bool:
    """The letter of a DNI, or of a NIE whose X, Y, Z stand for 0, 1, 2."""
    number = {"X": "0", "Y": "1", "Z": "2"}.get(text[0], text[0]) + text[1:-1]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == text[-1]


def italian(text: str) -> bool:
    """The last letter of a codice fiscale (DM 23/12/1976)."""
    total = 0
    for at, char in enumerate(text[:-1]):
        place = int(char) if char.isdigit() else ord(char) - ord("A")
        total += _ITALIAN_ODD[place] if at % 2 == 0 else place
    return chr(ord("A") + total % 26) == text[-1]


def french(text: str) -> bool:
    """The key of a NIR; Corsican departments count as 19 and 18."""
    number = text[:-2].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(text[-2:])


def crc32_base62(text: str, digits: int = 6) -> bool:
    """Whether the last characters are the CRC-32 of those before, in base 62: GitHub's and npm's tokens."""
    value = zlib.crc32(text[:-digits].encode())
    encoded = ""
    while value:
        value, digit = divmod(value, 62)
        encoded = _BASE62[digit] + encoded
    return encoded.rjust(digits, "0") == text[-digits:]
