"""A real browser (Debian's Chromium, driven by playwright): reaches loopback alone, and tells what pages do wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.peers.environments import package

PROGRAM = "/usr/bin/chromium"  # what Debian's package installs
_LOOPBACK = "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
# WCAG 2.2 A and AA, and what axe holds for good practice
_COMPLAINTS = ("error", "warning")
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser until the end of the block. Only for modules without async tests: it runs a loop in this thread."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=PROGRAM,
            args=[
                f"--host-resolver-rules={_LOOPBACK}",
                "--disable-background-networking",
                "--disable-component-update",
            ],
        )
        try:
            yield browser
        finally:
            browser.close()


class Human:
    """Somebody at a tab of a browser of their own; `wrong` holds what it complained about."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.wrong: list[str] = []
        self.page = context.new_page()
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type in _COMPLAINTS else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))

    @classmethod
    def at(cls, browser: Browser) -> "Human":
        """Somebody new."""
        context = browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(15_000)
        return cls(context)

    def tab(self) -> "Human":
        """The same person in another tab."""
        return Human(self.context)

    @property
    def words(self) -> str:
        return " ".join(self.page.inner_text("main").split())

    def press(self, name: str) -> None:
        """Press a button (or follow a link that looks like one) and wait for what comes."""
        found = self.page.get_by_role("button", name=name, exact=True)
        if found.count() == 0:
            found = self.page.get_by_role("link", name=name, exact=True)
        found.click()
        self.page.wait_for_load_state()

    def fill(self, **labels: str) -> None:
        """Fill in the fields of these ids."""
        for name, value in labels.items():
            self.page.fill(f"#{name}", value)

    def check_accessible(self) -> None:
        """Raises AssertionError with what axe found, in light and in dark."""
        schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for scheme in schemes:
            self.page.emulate_media(color_scheme=scheme)
            self.page.evaluate(_axe())
            found = self.page.evaluate("rules => axe.run({runOnly: rules})", _RULES)
            bad = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]]
            assert not bad, f"{self.page.url} ({scheme}): {bad}"

    def close(self) -> None:
        self.context.close()


@lru_cache(maxsize=1)
def _axe() -> str:
    return (package("axe-core") / "axe.min.js").read_text("utf-8")
