"""What to paste into an MCP client, and the text that the first `up` prints."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path


def own_program() -> str:
    """The whole path of the `callgate` that runs: a desktop client starts it from another folder."""
    started = Path(sys.argv[0])
    found = str(started) if started.name == "callgate" and started.exists() else shutil.which("callgate")
    return str(Path(found or started).absolute())


def snippets(url: str, token: str) -> list[tuple[str, str]]:
    """(client, text to paste) for the clients that most people have."""
    header = f"Authorization: Bearer {token}"
    entry = {"url": url, "headers": {"Authorization": f"Bearer {token}"}}
    cursor = json.dumps({"mcpServers": {"callgate": entry}}, indent=2)
    codex = f'[mcp_servers.callgate]\nurl = "{url}"\nhttp_headers = {{ "Authorization" = "Bearer {token}" }}'
    stdio = {"command": own_program(), "args": ["connect", url], "env": {"CALLGATE_TOKEN": token}}
    bridge = json.dumps({"mcpServers": {"callgate": stdio}}, indent=2)
    return [
        ("Claude Code (paste into a shell)", f'claude mcp add --transport http callgate {url} --header "{header}"'),
        ("Cursor (~/.cursor/mcp.json)", cursor),
        ("Codex (~/.codex/config.toml)", codex),
        ("Claude Desktop and others that take no URL (claude_desktop_config.json)", bridge),
    ]


def welcome(url: str, first: Mapping[str, str], data_dir: str) -> str:
    """The first start: who you are, what to paste, how to approve, where to look. `first` has person, token, link."""
    token = first["token"]
    parts = [
        f"Callgate serves {url}",
        "",
        f"You are {first['person']}, an admin. Set a password here; the link is good once, for a day:",
        f"  {first['link']}",
        "",
        "Then a client needs nothing but the URL: it opens a browser. Until then, this token works, shown this once:",
        f"  {token}",
        "",
        "Connect a client:",
    ]
    for client, text in snippets(url, token):
        parts += ["", f"  {client}", *(f"    {line}" for line in text.split("\n"))]
    parts += ["", *_next_steps(data_dir)]
    return "\n".join(parts)


def again(url: str, data_dir: str) -> str:
    """A later start."""
    return "\n".join([f"Callgate serves {url}", "", *_next_steps(data_dir)])


def _next_steps(data_dir: str) -> list[str]:
    option = "" if data_dir == ".callgate" else f" --data-dir {data_dir}"
    return [
        "Nothing is callable before somebody has approved it:",
        f"  callgate tools list{option}                    what waits for review",
        f"  callgate tools approve --all --yes{option}     approve all that was never reviewed",
        "Where to look:",
        f"  callgate audit tail --follow{option}           every call, as it happens",
        f"  callgate adopt{option}                         bring in the servers your clients already have",
        f"  callgate tokens issue --person EMAIL{option}   a token for another client",
        f"  callgate doctor{option}                        check everything, with one real call",
    ]
