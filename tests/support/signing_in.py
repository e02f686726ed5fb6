"""People with a local account, and clients that they allow: the whole way from 401 to a token, as clients go it."""

import hashlib
import json
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import urlencode, urlsplit

from callgate import clock
from tests.support.robot import Page, Robot
from tests.support.running import Running

PASSWORD = "correct horse battery"
BACK = "http://127.0.0.1:43210/callback"


def account(run: Running, email: str, *roles: str) -> Robot:
    """A person with a password, signed in in a browser of their own."""
    run.person(email, *(roles or ("member",)))
    return enrolled(run.url, run.operator.post(f"/people/{email}/link")["url"])


def enrolled(base: str, link: str) -> Robot:
    """Whoever opens a one-time link and sets a password: signed in, in a browser of their own."""
    robot = Robot(base)
    page = robot.submit(robot.get(urlsplit(link).path), password=PASSWORD)
    assert page.status == 200, page.words
    assert "recovery codes" in page.words
    return robot


def sign_in(robot: Robot, email: str, password: str = PASSWORD, next_: str = "") -> Page:
    """Through the sign-in page."""
    page = robot.get(f"/signin?next={next_}" if next_ else "/signin")
    return robot.submit(page, email=email, password=password)


class Client:
    """An OAuth client program."""

    def __init__(self, url: str, redirect: str = BACK) -> None:
        self.url = url
        self.redirect = redirect
        self.robot = Robot(url)
        self.verifier = clock.random_urlsafe(40)
        self.id = ""
        self.secret: str | None = None

    def register(self, **more: Any) -> dict[str, Any]:
        body = {"client_name": "Test Client", "redirect_uris": [self.redirect], **more}
        headers = {"Content-Type": "application/json"}
        page = self.robot.request("POST", "/oauth/register", json.dumps(body).encode(), headers)
        assert page.status == 201, page.text
        found: dict[str, Any] = page.json
        self.id = found["client_id"]
        return found

    @property
    def challenge(self) -> str:
        return urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")

    def authorize_url(self, **more: str | None) -> str:
        asked: dict[str, str | None] = {
            "response_type": "code", "client_id": self.id, "redirect_uri": self.redirect, "state": "st 1&2",
            "code_challenge": self.challenge, "code_challenge_method": "S256", "resource": f"{self.url}/mcp",
        }  # fmt: skip
        given = {key: value for key, value in {**asked, **more}.items() if value is not None}
        return f"{self.url}/oauth/authorize?{urlencode(given)}"

    def code(self, browser: Robot, **more: str | None) -> str:
        """The code that a person's browser brings back."""
        page = browser.get(self.authorize_url(**more))
        assert page.status == 200, page.words
        back = browser.submit(page, answer="allow", follow=False)
        assert back.status == 302, back.words
        assert back.location.startswith(self.redirect)
        assert back.query["state"] == "st 1&2"
        assert back.query["iss"] == self.url
        return back.query["code"]

    def token(self, **form: str) -> Page:
        given = {"client_id": self.id, **({"client_secret": self.secret} if self.secret else {}), **form}
        return self.robot.post("/oauth/token", given)

    def redeem(self, code: str, **more: str) -> Page:
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": self.verifier}
        return self.token(**{**form, "redirect_uri": self.redirect, **more})

    def login(self, browser: Robot, **more: str | None) -> dict[str, Any]:
        """From nothing to tokens."""
        if not self.id:
            self.register()
        page = self.redeem(self.code(browser, **more))
        assert page.status == 200, page.text
        found: dict[str, Any] = page.json
        return found

    def refresh(self, token: str, **more: str) -> Page:
        return self.token(grant_type="refresh_token", refresh_token=token, **more)


def ask(url: str, token: str, method: str = "tools/list", params: dict[str, Any] | None = None) -> Page:
    """One request of the modern era to the MCP endpoint."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
    }  # fmt: skip
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**(params or {}), "_meta": meta}}
    headers = {
        "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method,
    }  # fmt: skip
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if params and "name" in params:
        headers["Mcp-Name"] = params["name"]
    return Robot(url).request("POST", f"{url}/mcp", json.dumps(body).encode(), headers)
