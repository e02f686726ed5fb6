"""Claude Code with a scripted model: `python -m tests.clients.drivers.claude_code URL TOKEN TOOL ARGUMENTS`.

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
    with (
        AnthropicModel(Script(tool, json.loads(arguments))) as model,
        tempfile.TemporaryDirectory(prefix="claude-") as place,
    ):
        home = Path(place)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        servers = {SERVER: {"type": "http", "url": url, "headers": headers}}
        config = home / "mcp.json"
        config.write_text(json.dumps({"mcpServers": servers}))
        done = subprocess.run(
            [
                *(str(package("@anthropic-ai/claude-code-linux-x64") / "claude"), "-p", "Use the tool."),
                *("--mcp-config", str(config), "--strict-mcp-config"),
                *("--allowedTools", f"mcp__{SERVER}", "--output-format", "json"),
            ],
            env=_environment(home, model.url),
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
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
        "PATH": os.environ["PATH"],
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
    sys.exit(main(*sys.argv[1:]))
