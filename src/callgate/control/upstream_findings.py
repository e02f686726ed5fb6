"""What is odd about an upstream itself: a program whose code is fetched anew at each start (design §4).

Pure. A finding refuses nothing; it is shown wherever the upstream is shown.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

import msgspec

from callgate.model.upstream import Stdio

_NPM_PINNED = re.compile(r"(?:@[^/@]+/)?[^@]+@\d+\.\d+\.\d+.*")
_PYPI_PINNED = re.compile(r"[^=@<>~!\s]+(?:==\d[^*]*|@\d[^*]*)")
_LOCAL = ("./", "../", "/", "file:")


class UpstreamFinding(msgspec.Struct, frozen=True):
    """One odd thing about an upstream."""

    rule: str
    severity: str
    detail: str


def findings(stdio: Stdio | None) -> tuple[UpstreamFinding, ...]:
    """Everything odd about a program's command line."""
    if stdio is None:
        return ()
    runner = _RUNNERS.get(PurePath(stdio.command).name)
    package = runner(stdio.args) if runner is not None else None
    if package is None:
        return ()
    detail = f"{package} is not pinned to a version, so what runs can change at any start; name an exact one."
    return (UpstreamFinding("unpinned_package", "medium", detail),)


def _npm(args: Sequence[str]) -> str | None:
    package = _named(args, ("-p", "--package")) or _first(args, ("-c", "--call"))
    return None if package is None or package.startswith(_LOCAL) or _NPM_PINNED.fullmatch(package) else package


def _pypi(args: Sequence[str]) -> str | None:
    package = _named(args, ("--from",)) or _first(args, ("--with", "-p", "--python", "--index-url", "--index"))
    return None if package is None or package.startswith(_LOCAL) or _PYPI_PINNED.fullmatch(package) else package


def _after(word: str, runner: "Runner") -> "Runner":
    return lambda args: runner(args[1:]) if args[:1] == (word,) else None


def _named(args: Sequence[str], flags: tuple[str, ...]) -> str | None:
    for number, one in enumerate(args):
        flag, sign, value = one.partition("=")
        if flag in flags:
            return value if sign else next(iter(args[number + 1 :]), None)
    return None


def _first(args: Sequence[str], with_value: tuple[str, ...]) -> str | None:
    """The first argument that is no option; some options take the word after them along."""
    words = iter(args)
    for one in words:
        if one in with_value:
            next(words, None)
        elif not one.startswith("-"):
            return one
    return None


Runner = Callable[[Sequence[str]], str | None]
_RUNNERS: dict[str, Runner] = {
    "npx": _npm,
    "bunx": _npm,
    "npm": _after("exec", _npm),
    "pnpm": _after("dlx", _npm),
    "yarn": _after("dlx", _npm),
    "uvx": _pypi,
    "uv": _after("tool", _after("run", _pypi)),
    "pipx": _after("run", _pypi),
}
