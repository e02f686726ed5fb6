"""Claude Code with a scripted model: `python -m tests.clients.drivers.claude_code URL TOKEN TOOL ARGUMENTS`, or
`… pasted SNIPPET SERVER TOOL ARGUMENTS`.

The program runs in an empty home with nothing of this machine's environment but PATH, and talks to loopback only.
Printed as JSON: the names of the tools that the model was shown, and what it was given as the tool's result.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.clients.fake_llm import AnthropicModel
from tests.clients.scripted import Script
from tests.peers.environments import package

SERVER = "lab"


def main(url: str, token: str, tool: str, arguments: str) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    servers = {SERVER: {"type": "http", "url": url, "headers": headers}}
    with tempfile.TemporaryDirectory(prefix="claude-") as place:
        home = Path(place)
        config = home / "mcp.json"
        config.write_text(json.dumps({"mcpServers": servers}))
        more = ("--mcp-config", str(config), "--strict-mcp-config")
        return report(home, SERVER, Script(tool, json.loads(arguments)), more)


def pasted(snippet: str, server: str, tool: str, arguments: str) -> int:
    """The same after pasting a `claude mcp add …` into a shell."""
    with tempfile.TemporaryDirectory(prefix="claude-") as place:
        home = Path(place)
        subprocess.run(["sh", "-c", snippet], env=_environment(home, ""), cwd=home, check=True, stdout=sys.stderr)
        return report(home, server, Script(tool, json.loads(arguments)))


def report(home: Path, server: str, script: Script, more: tuple[str, ...] = ()) -> int:
    """Let the scripted model use the tool, and print what it was shown and given. Gives the exit code."""
    with AnthropicModel(script) as model:
        done = subprocess.run(
            ["claude", "-p", "Use the tool.", *more, "--allowedTools", f"mcp__{server}", "--output-format", "json"],
            env=_environment(home, model.url),
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=420,
            check=False,
        )
        if not model.record.results:
            sys.stderr.write(f"{done.stdout}\n{done.stderr}\nshown to the model: {model.record.tools}\n")
            return done.returncode or 1
        shown = [name for name in model.record.tools if name.startswith("mcp__")]
        print(json.dumps({"tools": shown, "result": model.record.results[0]}))
        return 0


def _environment(home: Path, url: str) -> dict[str, str]:
    return {
        "PATH": f"{package('@anthropic-ai/claude-code-linux-x64')}:{os.environ['PATH']}",
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / "config"),
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "not-a-key",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "ENABLE_TOOL_SEARCH": "false",
    }


if __name__ == "__main__":
    sys.exit(pasted(*sys.argv[2:]) if sys.argv[1] == "pasted" else main(*sys.argv[1:]))
