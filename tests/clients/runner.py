"""The table of client drivers: how each is started, and what of its report is the tool's result."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.environments import ROOT, environment, node, python

DRIVERS = Path(__file__).parent / "drivers"


class ClientFailed(AssertionError):
    """A client did not get its result."""


@dataclass(frozen=True)
class Driver:
    """`command` gives the start of the command line; URL, TOKEN, TOOL, ARGUMENTS and `more` follow.

    `namer` tells how the client names a tool towards its model, given the name on the wire.
    """

    name: str
    command: Callable[[], list[str]]
    more: tuple[str, ...] = ()
    large: bool = False
    namer: Callable[[str], str] = str

    def run(self, url: str, token: str, tool: str, arguments: dict[str, Any], seconds: float = 150) -> dict[str, Any]:
        """The driver's report: `tools` and `result`. Raises ClientFailed."""
        command = [*self.command(), url, token, tool, json.dumps(arguments), *self.more]
        env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PEERS_DIR": str(_peers())}
        env["NODE_MODULES"] = str(_peers() / "node" / "node_modules")
        done = subprocess.run(
            command,
            env=env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode != 0:
            raise ClientFailed(
                f"{self.name} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            )
        report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return report


def _peers() -> Path:
    return environment("node").parent


def _python(name: str, file: str) -> Callable[[], list[str]]:
    return lambda: [str(python(name)), str(DRIVERS / file)]


def _node(file: str) -> Callable[[], list[str]]:
    return lambda: [str(node()), str(DRIVERS / file)]


def _module(name: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, "-m", f"tests.clients.drivers.{name}"]


ALL = (
    Driver("python-sdk-2", _python("py-mcp2", "py_sdk2.py")),
    Driver("python-sdk-2-handshake", _python("py-mcp2", "py_sdk2.py"), ("legacy",)),
    Driver("python-sdk-1", _python("py-mcp1", "py_sdk1.py")),
    Driver("fastmcp", _python("py-fastmcp", "py_fastmcp.py")),
    Driver("typescript-sdk-1", _node("ts_sdk1.mjs")),
    Driver("typescript-client-2", _node("ts_client2.mjs")),
    Driver("typescript-client-2-handshake", _node("ts_client2.mjs"), ("legacy",)),
    Driver("inspector", _module("inspector"), ("modern",)),
    Driver("inspector-handshake", _module("inspector"), ("legacy",)),
    Driver("claude-code", _module("claude_code"), large=True, namer=lambda name: f"mcp__lab__{name}"),
    Driver("codex", _module("codex"), large=True, namer=lambda name: f"mcp__lab__{name}"),
)


def texts(result: Any) -> str:
    """All strings of a result joined: clients that show it to a model reshape it each in its own way."""
    if isinstance(result, str):
        return result
    if isinstance(result, dict):
        return "\n".join(texts(value) for value in result.values())
    if isinstance(result, list):
        return "\n".join(texts(value) for value in result)
    return ""
