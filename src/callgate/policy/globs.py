"""Globs as they stand in rules: `*`, `?`, `[…]`."""

import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache


@lru_cache(maxsize=16384)
def pattern(glob: str) -> Callable[[str], re.Match[str] | None]:
    """A glob as a whole-text matcher; runs of `*` count once, so that matching cannot blow up."""
    return re.compile(translate(re.sub(r"\*+", "*", glob)), re.DOTALL).match
