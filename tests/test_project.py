"""The project keeps its own rules: budgets, lock files without addresses, and make targets that the README promises."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = sorted([*ROOT.glob("requirements/*.txt"), *ROOT.glob("tests/peers/*/requirements.txt")])
NODE_LOCKS = sorted(ROOT.glob("tests/peers/*/package-lock.json"))


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


budgets = _load(ROOT / "scripts" / "check_budgets.py")


def test_every_file_keeps_the_budgets() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "check_budgets.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("src/callgate/x.py", "a = 1\n" * 401, "401 lines, at most 400"),
        ("tests/test_x.py", "a = 1\n" * 601, "601 lines, at most 600"),
        ("src/callgate/x.py", "def f():\n" + "    a = 1\n" * 50, "f has 51 lines, at most 50"),
        ("src/callgate/x.py", "try:\n    pass\nexcept Exception:\n    pass\n", "1 broad `except`, allowed are 0"),
        ("src/callgate/x.py", "try:\n    pass\nexcept:\n    pass\n", "1 broad `except`, allowed are 0"),
        ("src/callgate/x/__init__.py", '"""Too short."""\n', "say in 5 to 10"),
        ("src/callgate/x.py", "import time\n", "callgate.clock"),
        ("src/callgate/x.py", "from datetime import datetime\nNOW = datetime.now()\n", "callgate.clock"),
    ],
)
def test_a_breach_of_a_budget_is_found(name: str, text: str, said: str) -> None:
    found = list(budgets.check_python(name, text))
    assert len(found) == 1
    assert said in found[0]


def test_what_is_allowed_passes() -> None:
    text = "def f():\n" + "    a = 1\n" * 49 + "try:\n    f()\nexcept BaseException:\n    raise\n"
    assert list(budgets.check_python("src/callgate/x.py", text)) == []
    assert list(budgets.check_python("src/callgate/clock.py", "import time\n")) == []


def test_the_hosts_of_registries_and_paths_of_machines_are_found() -> None:
    for text in ("see " + "pypi." + "org/x", "registry.npmjs" + ".org", "cd /" + "work/main", "deb." + "debian.org"):
        assert len(list(budgets.check_text("README.md", text))) == 1, text
    assert list(budgets.check_text("README.md", "PyPI, npm and Debian have it; work/ is a folder")) == []


def test_there_are_lock_files() -> None:
    assert {path.stem for path in LOCKS} >= {"bootstrap", "runtime", "dev", "npm", "requirements"}
    assert NODE_LOCKS


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_python_lock_pins_every_package_by_hash_and_names_no_address(lock: Path) -> None:
    text = lock.read_text()
    pins = re.findall(r"(?m)^[A-Za-z0-9_.-]+==\S+", text)
    assert pins
    assert "://" not in text
    assert not re.search(r"(?m)^\s*--(?:index|extra-index|find-links)", text)
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", text):
        assert not block.strip() or "--hash=sha256:" in block, block.splitlines()[0]


@pytest.mark.parametrize("lock", NODE_LOCKS, ids=lambda path: path.parent.name)
def test_a_node_lock_holds_hashes_and_no_addresses_to_fetch_from(lock: Path) -> None:
    text = lock.read_text()
    assert '"resolved"' not in text
    assert text.count('"integrity"') > 0


def test_runtime_and_development_locks_agree() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        return dict(re.findall(r"(?m)^([A-Za-z0-9_.-]+)==(\S+)", text))

    development = pins("dev")
    assert {name: development.get(name) for name in pins("runtime")} == pins("runtime")


def test_the_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", (ROOT / "Makefile").read_text()))
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)\b", (ROOT / "README.md").read_text()))
    assert {"run", "test"} <= named
    assert named <= targets


def test_every_script_that_make_calls_exists_and_may_be_run() -> None:
    for name in re.findall(r"scripts/[a-z-]+\.sh", (ROOT / "Makefile").read_text()):
        path = ROOT / name
        assert path.is_file(), name
        assert path.stat().st_mode & 0o111, name


def test_every_test_module_says_what_it_is_about() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path.relative_to(ROOT)
