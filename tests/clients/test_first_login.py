"""No key in any client's configuration: each goes from 401 to a tool call through a browser, as a new one does."""

import contextlib
import io
import json
import os
import pty
import re
import stat
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.drivers import claude_code, codex
from tests.clients.runner import DRIVERS, texts
from tests.clients.scripted import Script
from tests.peers.environments import ROOT, node, package, peers_dir, program, python
from tests.peers.gateway import Gateway, http_upstream
from tests.peers.processes import fixture_server
from tests.support.signing_in import PASSWORD, enrolled

pytestmark = pytest.mark.clients
EMAIL = "dev@acme.test"
DOCUMENTS = {  # pinned: nothing here reaches the internet
    "Claude Code": ("https://claude.ai/oauth/claude-code-client-metadata", "http://localhost/callback"),
    "Codex": ("https://chatgpt.com/oauth/codex/client.json", "http://127.0.0.1/callback"),
}
TOOL, ARGUMENTS, SAID = "both__echo", '{"text": "canary-login"}', "canary-login"
ADDRESS = re.compile(rb"http://127[.]0[.]0[.]1:[0-9]+/oauth/authorize[?][!-~]+(?=[^!-~])")
OPENERS = ("xdg-open", "open", "sensible-browser", "www-browser", "x-www-browser", "browser")


@dataclass(frozen=True)
class Lab:
    gateway: Gateway
    place: Path
    documents: str

    @property
    def url(self) -> str:
        return f"{self.gateway.url}/mcp"

    @property
    def browser(self) -> Path:
        return self.place / "bin" / "browser"

    def env(self, home: Path) -> dict[str, str]:
        """The environment of a client: an empty home, and one browser, which acts for the person."""
        home.mkdir(exist_ok=True)
        return {
            "PATH": f"{self.place / 'bin'}:{os.environ['PATH']}", "HOME": str(home), "DISPLAY": ":9",
            "BROWSER": f"{self.browser} %s", "NO_PROXY": "127.0.0.1,localhost", "TERM": "dumb",
            "PEERS_DIR": str(peers_dir()), "XDG_CONFIG_HOME": str(home / "xdg"),
            "XDG_DATA_HOME": str(home / "xdg"), "XDG_DATA_DIRS": str(home / "xdg"),  # no other browser is known
        }  # fmt: skip

    def check_known_by(self, name: str) -> None:
        """A client that has a document uses it where the gateway takes those, and registers where not."""
        found = json.loads(self.gateway.cli("clients", "list", "--json"))
        used = any(one["client_id"] == DOCUMENTS[name][0] and one["used"] for one in found)
        assert used is (self.documents == "on")


@pytest.fixture(scope="module", params=["on", "off"], ids=["documents", "registration"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    place: Path = tmp_path_factory.mktemp("login")
    (place / "bin").mkdir()
    state = place / "robot.json"
    page = f'ROBOT="{state}" "{sys.executable}" -m tests.clients.browser "$@" >>"{place}/browser.log" 2>&1 </dev/null'
    opener = f'#!/bin/sh\ncd "{ROOT}" && {page} &\n'  # in the background, as a desktop's openers do
    for name in OPENERS:
        file = place / "bin" / name
        file.write_text(opener)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    with fixture_server("both") as both:
        gateway = Gateway(
            place, settings={"CALLGATE_CLIENT_DOCUMENTS": request.param, "CALLGATE_ACCESS_TOKEN_SECONDS": "5"}
        )
        try:
            gateway.up()
            gateway.govern([http_upstream("both", both.wait_ready())])
            gateway.cli("people", "add", EMAIL)
            enrolled(gateway.url, json.loads(gateway.cli("people", "invite", EMAIL, "--json"))["url"])
            for name, (document, redirect) in DOCUMENTS.items():
                gateway.cli("clients", "add", name, "--document", document, "--redirect", redirect)
            state.write_text(json.dumps({"base": gateway.url, "email": EMAIL, "password": PASSWORD}))
            yield Lab(gateway, place, request.param)
        finally:
            gateway.stop()


def run(command: list[str], env: dict[str, str], cwd: Path, seconds: float = 150) -> str:
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


class Terminal:
    """A program at a terminal; an address to sign in at that it shows is opened, once, as a person would."""

    def __init__(self, browser: Path) -> None:
        self.browser = browser
        self.said = b""
        self.opened = ""

    def _read(self, leader: int) -> None:
        while True:
            try:
                piece = os.read(leader, 4096)
            except OSError:
                return
            if not piece:
                return
            self.said += piece
            shown = ADDRESS.search(self.said)
            if shown is not None and not self.opened:
                self.opened = shown[0].decode()
                subprocess.run([self.browser, self.opened], check=True)

    def run(self, command: list[str], env: dict[str, str], cwd: Path, seconds: float = 90) -> str:
        """What it wrote. Raises AssertionError when it does not end with 0."""
        leader, follower = pty.openpty()
        termios.tcsetwinsize(leader, (50, 4000))  # so that no address is broken into lines
        with subprocess.Popen(
            command, env=env, cwd=cwd, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
        ) as process:
            os.close(follower)
            reader = threading.Thread(target=self._read, args=(leader,), daemon=True)
            reader.start()
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                code = -1
            reader.join(5)
        os.close(leader)
        text = self.said.decode("utf-8", "replace")
        assert code == 0, text[-3000:]
        return text


def test_the_python_sdk_registers_signs_in_and_renews(lab: Lab, tmp_path: Path) -> None:
    command = [str(python("py-mcp2")), str(DRIVERS / "login_py_sdk2.py"), lab.url, str(lab.browser), TOOL, ARGUMENTS]
    report = json.loads(run([*command, "6"], lab.env(tmp_path / "home"), tmp_path).splitlines()[-1])
    assert texts(report["result"]).count(SAID) >= 2
    assert report["opened"] == 1
    assert report["renewed"] is True
    assert report["client"].startswith("cli_")


def test_the_python_sdk_signs_in_again_after_its_permission_was_ended(lab: Lab, tmp_path: Path) -> None:
    command = [str(python("py-mcp2")), str(DRIVERS / "login_py_sdk2.py"), lab.url, str(lab.browser), TOOL, ARGUMENTS]
    before = {one["id"] for one in json.loads(lab.gateway.cli("clients", "allowed", "--json"))}
    done: list[str] = []
    home = lab.env(tmp_path / "home")
    thread = threading.Thread(target=lambda: done.append(run([*command, "14"], home, tmp_path)))
    thread.start()
    ended: set[str] = set()
    while thread.is_alive() and not ended:
        listed = {one["id"] for one in json.loads(lab.gateway.cli("clients", "allowed", "--json"))}
        for one in listed - before:
            lab.gateway.cli("clients", "end", one)
            ended.add(one)
    thread.join()
    assert ended
    report = json.loads(done[0].splitlines()[-1])
    assert report["opened"] == 2, "the person was not asked again"
    assert texts(report["result"]).count(SAID) >= 2


def test_fastmcp_signs_in(lab: Lab, tmp_path: Path) -> None:
    command = [str(python("py-fastmcp")), str(DRIVERS / "login_fastmcp.py"), lab.url, TOOL, ARGUMENTS]
    report = json.loads(run(command, lab.env(tmp_path / "home"), tmp_path).splitlines()[-1])
    assert SAID in texts(report["result"])


def test_mcp_remote_signs_in(lab: Lab, tmp_path: Path) -> None:
    proxy = [str(node()), str(program("mcp-remote", "mcp-remote"))]
    command = [str(python("py-mcp2")), str(DRIVERS / "login_mcp_remote.py"), *proxy, lab.url, TOOL, ARGUMENTS]
    report = json.loads(run(command, lab.env(tmp_path / "home"), tmp_path).splitlines()[-1])
    assert SAID in texts(report["result"])


def test_the_inspector_signs_in(lab: Lab, tmp_path: Path) -> None:
    env = {**lab.env(tmp_path / "home"), "MCP_INSPECTOR_SECRET_STORE": "file"}
    base = [str(node()), str(program("@modelcontextprotocol/inspector", "mcp-inspector")), "--cli", lab.url]
    base += ["--transport", "http", "--format", "json", "--method", "tools/call", "--tool-name", TOOL]
    text = Terminal(lab.browser).run([*base, "--tool-arg", "text=canary-login"], env, tmp_path)
    assert SAID in text


def test_claude_code_signs_in(lab: Lab, tmp_path: Path) -> None:
    home = tmp_path / "home"
    claude = str(package("@anthropic-ai/claude-code-linux-x64") / "claude")
    env = {**lab.env(home), **claude_code._environment(home, "http://127.0.0.1:9")}
    env["PATH"] = f"{lab.place / 'bin'}:{env['PATH']}"
    run([claude, "mcp", "add", "--transport", "http", "--scope", "user", "lab", lab.url], env, home)
    Terminal(lab.browser).run([claude, "mcp", "login", "lab"], env, home)
    lab.check_known_by("Claude Code")
    report = _reported(lambda: claude_code.report(home, "lab", Script(TOOL, json.loads(ARGUMENTS))))
    assert SAID in texts(report["result"])


def test_codex_signs_in(lab: Lab, tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = {**lab.env(home), "CODEX_HOME": str(home)}
    (home / "config.toml").write_text('mcp_oauth_credentials_store = "file"\n')
    binary = str(package("@openai/codex-linux-x64") / codex.BINARY)
    Terminal(lab.browser).run([binary, "mcp", "add", "lab", "--url", lab.url], env, home)  # signs in at once
    lab.check_known_by("Codex")
    report = _reported(lambda: codex.signed_in(home, lab.url, Script(TOOL, json.loads(ARGUMENTS))))
    assert SAID in texts(report["result"])


def _reported(work: Any) -> dict[str, Any]:
    """What a driver prints, run in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert work() == 0
    found: dict[str, Any] = json.loads(out.getvalue().strip().splitlines()[-1])
    return found
