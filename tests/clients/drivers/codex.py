"""Codex with a scripted model: `python -m tests.clients.drivers.codex URL TOKEN TOOL ARGUMENTS`.

The program runs in an empty home with nothing of this machine's environment but PATH, and talks to loopback only.
Printed as JSON: the names of the tools that the model was shown, and what it was given as the tool's result.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.clients.fake_openai import OpenAIModel
from tests.clients.scripted import Script
from tests.peers.environments import package

BINARY = "vendor/x86_64-unknown-linux-musl/bin/codex"
CONFIG = """
model = "scripted"
model_provider = "scripted"
approval_policy = "never"
sandbox_mode = "danger-full-access"

[model_providers.scripted]
name = "scripted"
base_url = "{model}/v1"
wire_api = "responses"
request_max_retries = 0

[analytics]
enabled = false

[mcp_servers.lab]
url = "{url}"
startup_timeout_sec = 30
default_tools_approval_mode = "approve"
{bearer}
"""


def main(url: str, token: str, tool: str, arguments: str) -> int:
    with tempfile.TemporaryDirectory(prefix="codex-") as place:
        return report(Path(place), url, token, Script(tool, json.loads(arguments)))


def signed_in(home: Path, url: str, script: Script) -> int:
    """With what a login has left in this home."""
    return report(home, url, "", script)


def report(home: Path, url: str, token: str, script: Script) -> int:
    """Let the scripted model use the tool, and print what it was shown and given. Gives the exit code."""
    with OpenAIModel(script) as model:
        bearer = 'bearer_token_env_var = "LAB_TOKEN"' if token else ""
        config = CONFIG.format(model=model.url, url=url, bearer=bearer)
        (home / "config.toml").write_text(f'mcp_oauth_credentials_store = "file"\n{config}')
        place = str(home)
        env = {"PATH": os.environ["PATH"], "HOME": place, "CODEX_HOME": place, "NO_PROXY": "127.0.0.1,localhost"}
        done = subprocess.run(
            [str(package("@openai/codex-linux-x64") / BINARY), "exec", "--skip-git-repo-check", "Use the tool."],
            env={**env, **({"LAB_TOKEN": token} if token else {})},
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
        print(json.dumps({"tools": model.record.tools, "result": model.record.results[0]}))
        return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
