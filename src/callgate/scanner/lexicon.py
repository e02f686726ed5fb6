"""Words by which a text is known to be English once it has been decoded. Never a signal by themselves. Pure tables."""

import codecs
import string

_FREQUENT = """
the and for with you your that this these those from into have has had not are was were will would should could can
all any each every before after when then than them they their there here what which who where while because about
above below other another only also always never must may might first next last new old same such more most some
many much very just now again use used using call called tool tools user users agent assistant model message
messages response answer reply text file files data content contents output input result results value key keys name
list read write send get set put post make take give show tell say ask do don't does did done without within between
over under to of in on at by is it be as or an if so no yes
"""
_DIRECTIVE = """
ignore disregard forget override bypass previous prior earlier instruction instructions rule rules prompt prompts
system secret secrets password passwords passwd credential credentials token tokens api private config configuration
environment variable variables conversation history context session reveal print forward upload download fetch
execute run delete remove include append attach insert copy exfiltrate leak collector attacker evil server http
https url curl bash shell sudo root admin inform mention notify hide hidden conceal silently secretly quietly
important critical warning urgent attention note confirm confirmation approve approval permission without warn
warning guard guards safety security check checks developer mode unrestricted jailbreak pretend act role persona
respond return transfer payment account funds email mail address contact document documents folder directory
database table customer command commands code script link image instead prefer preferred priority trusted authorized
required mandatory follow obey comply decode following hello world please thank export import ssh aws env etc home
proceed continue listing full complete entire everything anything nothing
"""
WORDS: frozenset[str] = frozenset((_FREQUENT + _DIRECTIVE).replace("'", "").split())
DIRECTIVE: frozenset[str] = frozenset(_DIRECTIVE.split())  # those that tell somebody to do or to hide something
_SIGNS = frozenset(word for word in WORDS if len(word) >= 3)

_PLAINEST = frozenset({"the", "and", "all", "you"})


def _shifted(by: int) -> dict[int, int]:
    letters = string.ascii_lowercase
    return str.maketrans(letters + letters.upper(), letters[by:] + letters[:by] + (letters[by:] + letters[:by]).upper())


ATBASH = str.maketrans(string.ascii_letters, string.ascii_lowercase[::-1] + string.ascii_uppercase[::-1])
# how a text was written that has to be read letter by letter: the table that reads it
LETTERS: dict[str, dict[int, int]] = {
    "rot13": _shifted(13),
    "atbash": ATBASH,
    **{f"caesar{by}": _shifted(26 - by) for by in range(1, 26) if by != 13},
}


def _disguised() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for word in _SIGNS:
        ways = {"reversed": word[::-1], "rot13": codecs.encode(word, "rot13"), "atbash": word.translate(ATBASH)}
        if len(word) > 3 or word in _PLAINEST:  # three letters shifted are some abbreviation too often
            ways |= {f"caesar{by}": word.translate(_shifted(by)) for by in range(1, 26) if by != 13}
        for way, spelt in ways.items():
            if spelt not in WORDS:
                found[spelt] = (*found.get(spelt, ()), way)
    return found


# what each word becomes when its text is reversed or its letters are exchanged, with the names of the ways
DISGUISED: dict[str, tuple[str, ...]] = _disguised()
_MOST_PARTED = 2000
_LONGEST = max(map(len, WORDS))


def parted(letters: str) -> list[str]:
    """Words that were written without blanks, found again; letters between known words stay together. Linear; what
    follows the first 2,000 letters stays as it is."""
    text = letters[:_MOST_PARTED].lower()
    best = [0] * (len(text) + 1)  # letters covered by known words, squared so that long words win
    cut = [0] * (len(text) + 1)
    for end in range(1, len(text) + 1):
        best[end], cut[end] = best[end - 1], 0
        for size in range(2, min(_LONGEST, end) + 1):
            if text[end - size : end] in WORDS and best[end - size] + size * size > best[end]:
                best[end], cut[end] = best[end - size] + size * size, size
    rest = letters[_MOST_PARTED:]
    return _pieces(letters[:_MOST_PARTED], cut) + ([rest] if rest else [])


def _pieces(letters: str, cut: list[int]) -> list[str]:
    pieces: list[str] = []
    end = loose = len(letters)
    while end:
        size = cut[end]
        if size:
            if loose > end:
                pieces.append(letters[end:loose])
            pieces.append(letters[end - size : end])
            end -= size
            loose = end
        else:
            end -= 1
    if loose:
        pieces.append(letters[:loose])
    return pieces[::-1]
