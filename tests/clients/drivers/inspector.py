"""MCP Inspector's CLI: `python -m tests.clients.drivers.inspector URL TOKEN TOOL ARGUMENTS [legacy|modern|auto]`."""

import json
import os
import subprocess
import sys
import tempfile

from tests.peers.environments import node, program

PACKAGE = "@modelcontextprotocol/inspector"


def main(url: str, token: str, tool: str, arguments: str, era: str = "legacy") -> int:
    """Print the result as JSON. TOKEN may be empty. The exit code is the Inspector's own."""
    with tempfile.TemporaryDirectory(prefix="inspector-") as home:
        env = {"PATH": os.environ["PATH"], "HOME": home, "MCP_INSPECTOR_SECRET_STORE": "file"}
        base = [str(node()), str(program(PACKAGE, "mcp-inspector")), "--cli", url, "--transport", "http"]
        base += ["--format", "json", "--protocol-era", era]
        base += ["--header", f"Authorization: Bearer {token}"] if token else []
        listed = _run([*base, "--method", "tools/list"], env)
        pairs = [
            f"{key}={value if isinstance(value, str) else json.dumps(value)}"
            for key, value in json.loads(arguments).items()
        ]
        chosen = ["--method", "tools/call", "--tool-name", tool]
        called = _run([*base, *chosen, *(["--tool-arg", *pairs] if pairs else [])], env)
    names = [one["name"] for one in json.loads(listed)["result"]["tools"]]
    print(json.dumps({"tools": names, **json.loads(called)}))
    return 0


def _run(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
