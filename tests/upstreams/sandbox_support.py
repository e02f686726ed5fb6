"""Starting the small gateway of the isolation tests as root and as nobody, in a directory that others can pass."""

import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "src"
NOBODY = 65534
AS_ROOT = os.geteuid() == 0
SYSTEM_PYTHON = "/usr/bin/python3"  # outside of homes, so that every user can run it

# (user of the gateway, isolation, with namespaces)
WAYS = [
    ("root", "uid", True),
    ("root", "uid", False),
    ("root", "landlock", True),
    ("nobody", "landlock", True),
    ("nobody", "landlock", False),
]
if shutil.which("bwrap"):
    WAYS += [("nobody", "bubblewrap", False)]


@contextmanager
def place(user: str) -> Iterator[Path]:
    """A directory that the gateway's user owns and other users can pass, with the scripts in it."""
    base = Path(tempfile.mkdtemp(prefix="callgate-test-"))
    base.chmod(0o711)
    scripts = base / "scripts"
    scripts.mkdir(mode=0o755)
    for name in ("sandbox_attacker.py", "sandbox_survivor.py"):
        shutil.copy(HERE / name, scripts / name)
        (scripts / name).chmod(0o644)
    named = base / "named"
    named.mkdir()
    named.chmod(0o777)
    if user == "nobody" and AS_ROOT:
        for path in (base, scripts, named):
            os.chown(path, NOBODY, NOBODY)
    try:
        yield base
    finally:
        shutil.rmtree(base)


def start(user: str, given: dict[str, object]) -> subprocess.Popen[str]:
    if user == "root" and not AS_ROOT:
        raise RuntimeError("this way of isolation needs root")
    others = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if user == "nobody" and AS_ROOT else {}
    environment = {"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin", "GATEWAY_SECRET": "ENVIRONMENT-CANARY"}
    return subprocess.Popen(
        [SYSTEM_PYTHON, "-B", str(HERE / "sandbox_gateway.py"), json.dumps({"python": SYSTEM_PYTHON, **given})],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd="/",
        **others,
    )


def run(user: str, given: dict[str, object]) -> dict[str, object]:
    process = start(user, given)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert not err, err
    return json.loads(out)


def marked(marker: str) -> list[int]:
    """Live processes with a marker on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line, state = (entry / "cmdline").read_bytes(), (entry / "stat").read_bytes().rpartition(b") ")[2][:1]
        except OSError:
            continue
        if marker.encode() in line and state not in b"ZX":
            found.append(int(entry.name))
    return found


def until_gone(marker: str) -> None:
    """Wait (bounded) until no process has the marker."""
    for _ in range(2000):
        if not marked(marker):
            return
        select.select([], [], [], 0.01)
    raise AssertionError(f"still alive: {marked(marker)}")
