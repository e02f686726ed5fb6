#!/usr/bin/env python3
"""Size budgets and rules that no linter knows. Standard library only; prints every breach and exits 1 if there is one.

    scripts/check_budgets.py [ROOT]

- src/ and packages/: a module has at most 400 lines, a function at most 50; tests/, bench/, scripts/: 600 lines.
- A package's `__init__` says in a docstring of 5 to 10 lines what it does and what it must never know.
- A broad `except` that does not end in `raise` only where ALLOWED_BROAD names the file and how many.
- Time and randomness come from callgate.clock.
- No file names the host of a package registry, nor a path of the machine it was written on.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 50
OTHER_LINES = 600
PROGRAM = ("src/", "packages/")
OTHER = ("tests/", "bench/", "scripts/")

# file → how many broad handlers it may hold, and why (style.md, house rule 2)
ALLOWED_BROAD = {
    "src/callgate/call/pipeline.py": 1,  # the one of the call path: ends in an audited deny
    "src/callgate/mcp/endpoint.py": 1,  # ASGI edge
    "src/callgate/control/api.py": 1,  # ASGI edge
    "src/callgate/scim/endpoint.py": 1,  # ASGI edge
    "src/callgate/web/site.py": 1,  # ASGI edge of the pages
    "src/callgate/app.py": 1,  # supervisor of background tasks
    "src/callgate/fleet/supervise.py": 1,  # supervisor of background tasks
    "src/callgate/upstreams/process.py": 1,  # where a subprocess is reaped
}
# the modules that may read a clock or the system's random source
CLOCKS = ("src/callgate/clock.py",)
CLOCK_MODULES = {"time", "random", "secrets", "uuid"}
CLOCK_CALLS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom"}

# written in pieces, so that this file passes its own check
REGISTRY_HOSTS = re.compile(
    r"(?i)\b(?:" + "|".join(
        "\\.".join(parts)
        for parts in (
            ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("yarnpkg", "com"),
            ("deb", "debian", "org"), ("security", "debian", "org"), ("snapshot", "debian", "org"),
            ("deb", "nodesource", "com"), ("proxy", "golang", "org"),
        )
    ) + r")\b"
)  # fmt: skip
MACHINE_PATHS = re.compile("|".join(("/" + "work/", "/tmp/" + "plan", r"\." + "library/", "/root/" + r"\.pyenv")))
TEXT_LIMIT = 4 * 1024 * 1024


def files(root: Path) -> list[str]:
    """What git knows or would add; without git, all but what our scripts build."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=False,
    ) if (root / ".git").exists() else None  # fmt: skip
    if listed is not None and listed.returncode == 0:
        names = {name for name in listed.stdout.split("\0") if name}
    else:
        built = {".git", ".venv", ".build", ".peers", "node_modules", "__pycache__", ".callgate"}
        names = {
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if not built & set(path.relative_to(root).parts)
            and not re.search(r"_cache/|\.pyc$", path.relative_to(root).as_posix())
        }
    return sorted(name for name in names if (root / name).is_file())


def check_python(name: str, text: str) -> Iterator[str]:
    lines = text.count("\n") + (not text.endswith("\n"))
    limit = MODULE_LINES if name.startswith(PROGRAM) else OTHER_LINES
    if lines > limit:
        yield f"{name}: {lines} lines, at most {limit}: split it by what its parts do"
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield f"{name}:{error.lineno}: {error.msg}"
        return
    if not name.startswith(PROGRAM):
        return
    yield from check_functions(name, tree)
    yield from check_broad(name, tree)
    if name.endswith("/__init__.py") and "/migrations/" not in name:
        yield from check_package(name, tree)
    if name not in CLOCKS and name.startswith("src/callgate/"):
        yield from check_clock(name, tree)


def check_functions(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES}"


def check_broad(name: str, tree: ast.Module) -> Iterator[str]:
    found = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type) and not ends_in_raise(node)
    ]
    if len(found) > ALLOWED_BROAD.get(name, 0):
        yield f"{name}:{found[-1]}: {len(found)} broad `except`, allowed are {ALLOWED_BROAD.get(name, 0)}"


def is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(each, ast.Name) and each.id in {"Exception", "BaseException"} for each in names)


def ends_in_raise(handler: ast.ExceptHandler) -> bool:
    """Cleaning up and passing the same exception on hides nothing."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def check_package(name: str, tree: ast.Module) -> Iterator[str]:
    said = ast.get_docstring(tree) or ""
    lines = len(said.splitlines())
    if not 5 <= lines <= 10:
        yield f"{name}: the docstring has {lines} lines; say in 5 to 10 what the package does and must never know"


def check_clock(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            used = {alias.name.split(".")[0] for alias in node.names} & CLOCK_MODULES
        elif isinstance(node, ast.ImportFrom):
            used = {(node.module or "").split(".")[0]} & CLOCK_MODULES
        elif isinstance(node, ast.Attribute):
            used = {ast.unparse(node)} & CLOCK_CALLS
        else:
            continue
        for what in sorted(used):
            yield f"{name}:{node.lineno}: {what}: time and randomness come from callgate.clock"


def check_text(name: str, text: str) -> Iterator[str]:
    for what, pattern in (("a registry's host", REGISTRY_HOSTS), ("a path of a build machine", MACHINE_PATHS)):
        found = pattern.search(text)
        if found:
            yield f"{name}:{text.count(chr(10), 0, found.start()) + 1}: names {what}: {found[0]}"


def check(root: Path) -> list[str]:
    """Every breach, one sentence each."""
    breaches: list[str] = []
    for name in files(root):
        path = root / name
        raw = path.read_bytes()[:TEXT_LIMIT]
        if b"\0" in raw:
            continue
        text = raw.decode(errors="replace")
        breaches += check_text(name, text)
        if name.endswith(".py") and name.startswith(PROGRAM + OTHER):
            breaches += check_python(name, text)
    return breaches


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    breaches = check(root)
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
