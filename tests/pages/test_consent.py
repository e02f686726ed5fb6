"""The consent page in a real browser: clients of every kind get there, and nobody agrees without knowing."""

import json
from collections.abc import Callable, Iterator
from email.message import Message
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.chromium import Human
from tests.support.running import Running, running
from tests.support.signing_in import PASSWORD, Client, account, ask
from tests.support.website import Answer, Website

People = Callable[[], Human]
EMAIL = "ana@acme.test"


class Elsewhere(Website):
    """A client's way back, or somebody evil. `pages`: path → HTML; `came`: what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, str] = {}
        self.came: list[str] = []

    def answer(self, path: str, headers: Message, body: bytes) -> Answer:
        del headers, body
        self.came.append(path)
        page = self.pages.get(urlsplit(path).path, "<p>You can close this page.</p>")
        return 200, page.encode(), {"Content-Type": "text/html"}

    def back(self) -> dict[str, str]:
        """What the last browser that was sent back brought."""
        last = [one for one in self.came if one.startswith("/callback")][-1]
        return {name: values[0] for name, values in parse_qs(urlsplit(last).query).items()}


@pytest.fixture
def other() -> Iterator[Elsewhere]:
    with Elsewhere() as found:
        yield found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("consent"), client_documents="off") as found:
        found.url = found.url.replace("127.0.0.1", "localhost")
        account(found, EMAIL)
        yield found


def registered(run: Running, other: Elsewhere) -> Client:
    client = Client(run.url, f"{other.url}/callback")
    client.register()
    return client


def sign_in(someone: Human) -> None:
    someone.fill(email=EMAIL, password=PASSWORD)
    someone.press("Sign in")


def signed_in(run: Running, someone: Human) -> Human:
    someone.page.goto(f"{run.url}/signin")
    sign_in(someone)
    assert EMAIL in someone.words
    return someone


def allow(someone: Human) -> None:
    someone.page.wait_for_selector("#allow:enabled")
    someone.press("Allow")


def test_from_a_client_through_sign_in_and_consent_and_back(run: Running, human: People, other: Elsewhere) -> None:
    client = registered(run, other)
    ana = human()
    other.pages["/start"] = f'<a href="{client.authorize_url().replace("&", "&amp;")}">Connect</a>'
    ana.page.goto(f"{other.url}/start")
    ana.page.click("a")
    assert "Sign in" in ana.words
    sign_in(ana)
    assert "Allow Test Client to act for you?" in ana.words
    assert "nobody has verified it" in ana.words
    ana.check_accessible()
    allow(ana)
    assert ana.page.url.startswith(f"{other.url}/callback?")
    found = other.back()
    assert found["state"] == "st 1&2"
    assert found["iss"] == run.url
    page = client.redeem(found["code"])
    assert page.status == 200, page.text
    assert ask(run.url, page.json["access_token"]).status == 200
    assert not [one for one in ana.wrong if "icon" not in one and run.url in one]


def test_no_is_an_answer(run: Running, human: People, other: Elsewhere) -> None:
    client = registered(run, other)
    ana = signed_in(run, human())
    ana.page.goto(client.authorize_url())
    ana.press("Do not allow")
    assert other.back()["error"] == "access_denied"


def test_a_client_that_only_reads_is_what_the_person_makes_of_it(run: Running, human: People, other: Elsewhere) -> None:
    client = registered(run, other)
    ana = signed_in(run, human())
    ana.page.goto(client.authorize_url())
    ana.page.get_by_label("It may also call tools that change something").uncheck()
    allow(ana)
    assert client.redeem(other.back()["code"]).json["scope"] == "mcp:read"


def test_a_client_in_a_web_page_opens_a_popup_and_hears_from_it(run: Running, human: People, other: Elsewhere) -> None:
    client = registered(run, other)
    other.pages["/app"] = (
        f"<button onclick='window.open({json.dumps(client.authorize_url())})'>Connect</button><p id=said></p>"
        "<script>onmessage = event => { said.textContent = event.data }</script>"
    )
    other.pages["/callback"] = "<script>opener.postMessage(location.search, location.origin); close()</script>"
    ana = signed_in(run, human())
    ana.page.goto(f"{other.url}/app")
    with ana.context.expect_page() as opened:
        ana.page.click("button")
    popup = opened.value
    popup.wait_for_selector("#allow:enabled")
    popup.click("#allow")
    ana.page.get_by_text("code=").wait_for()
    assert client.redeem(other.back()["code"]).status == 200


# -- against those who would have a person agree without knowing -----------------------------------------------------


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_no_page_is_shown_in_a_frame(run: Running, human: People, other: Elsewhere, name: str) -> None:
    """From another site, and from another port of the same one, where cookies come along."""
    ana = signed_in(run, human())
    paths = ["/signin", "/account", "/connections", registered(run, other).authorize_url().removeprefix(run.url)]
    other.pages["/"] = "".join(f'<iframe src="{run.url}{path}"></iframe>'.replace("&", "&amp;") for path in paths)
    ana.page.goto(other.url.replace("127.0.0.1", name), wait_until="networkidle")
    frames = ana.page.frames[1:]
    assert len(frames) == len(paths)
    for frame in frames:
        assert frame.url.startswith("chrome-error:")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    "path", ["/oauth/consent", "/account/password", "/account/sessions/end", "/signout", "/signin", "/connections/shop"]
)
def test_no_form_of_another_page_is_taken(
    run: Running, human: People, other: Elsewhere, path: str, name: str
) -> None:  # fmt: skip
    ana = signed_in(run, human())
    fields = "".join(
        f'<input name="{one}" value="{value}">'
        for one, value in {"answer": "allow", "password": "x" * 20, "email": "mal@acme.test", "token": "t"}.items()
    )
    other.pages["/"] = f'<form method="post" action="{run.url}{path}">{fields}</form><script>forms[0].submit()</script>'
    other.pages["/"] = other.pages["/"].replace("forms[0]", "document.forms[0]")
    with ana.page.expect_response(lambda answer: answer.url == f"{run.url}{path}") as answer:
        ana.page.goto(other.url.replace("127.0.0.1", name))
    assert answer.value.status == 403
    ana.page.goto(f"{run.url}/account")
    assert EMAIL in ana.words, "and nothing has changed"


def test_a_double_click_that_began_elsewhere_allows_nothing(run: Running, human: People, other: Elsewhere) -> None:
    """The second click of a double click falls on the page that a window below was sent to meanwhile."""
    client = registered(run, other)
    ana = signed_in(run, human())
    ana.page.goto(client.authorize_url(), wait_until="commit")
    ana.page.wait_for_selector("#allow")
    ana.page.evaluate("document.getElementById('allow').click()")
    place = ana.page.locator("#allow").bounding_box()
    assert place is not None
    ana.page.mouse.click(place["x"] + 5, place["y"] + 5)
    assert "Allow Test Client" in ana.words
    assert other.came == []
    allow(ana)
    assert "code" in other.back()


def test_an_answer_from_a_page_of_before_is_not_taken(run: Running, human: People, other: Elsewhere) -> None:
    """Going back after signing out and pressing Allow there."""
    client = registered(run, other)
    ana = signed_in(run, human())
    ana.page.goto(client.authorize_url())
    tab = ana.tab()
    tab.page.goto(f"{run.url}/account")
    tab.press("Sign out")
    tab.page.wait_for_url("**/signin*")
    allow(ana)
    assert "This did not work" in ana.words
    assert other.came == []
