"""Values of which only some exist, and the sentence for one that does not. Pure."""

import difflib
from collections.abc import Iterable, Sequence

from callgate.dlp.tables import KINDS, tables


def wrong(member: str, given: Iterable[str], known: Sequence[str]) -> str:
    """What is wrong with the values of a member; "" where all of them exist."""
    for value in given:
        if value not in known:
            near = difflib.get_close_matches(value, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it is one of {', '.join(known)}."
            return f"`{member}` cannot be `{value[:60]}`; {hint}"
    return ""


def wrong_contents(name: str, kinds: Iterable[str], detectors: Iterable[str]) -> str:
    """The same for what names kinds and detectors of `dlp`."""
    known = tuple(sorted({one.id for one in tables().detectors}))
    return wrong(f"{name}.kinds", kinds, tuple(KINDS)) or wrong(f"{name}.detectors", detectors, known)
