"""A browser without a screen: cookies, redirects, forms. It goes where a person would click, and nowhere else."""

import http.client
import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit


class Page:
    """What a request answered."""

    def __init__(self, url: str, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.url = url
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def words(self) -> str:
        """The text that a person reads."""
        bare = re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<head>.*?</head>", " ", self.text))
        return re.sub(r"\s+", " ", bare).replace("&#39;", "'").strip()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def location(self) -> str:
        return str(urljoin(self.url, self.headers["location"] or ""))

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the URL that it redirects to."""
        return dict(parse_qsl(urlsplit(self.location).query))

    def form(self, number: int = 0) -> "Form":
        reader = _Forms()
        reader.feed(self.text)
        return reader.forms[number]


class Form:
    """One form of a page with the values that it came with."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.values: dict[str, str] = {}


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.forms.append(Form(given.get("action") or ""))
        elif tag == "input" and self.forms and given.get("name"):
            if given.get("type") == "checkbox" and "checked" not in given:
                return
            self.forms[-1].values[given["name"] or ""] = given.get("value") or ""


class Robot:
    """One browser."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.jar: dict[str, dict[str, str]] = {}  # host and port → cookies
        self.seen: list[str] = []

    def request(
        self, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None, *, follow: bool = True
    ) -> Page:
        for _ in range(20):
            url = urljoin(self.base, url)
            self.seen.append(url)
            page = self._once(method, url, body, headers or {})
            if not follow or page.status not in (301, 302, 303, 307, 308) or not page.headers["location"]:
                return page
            if page.status not in {307, 308}:
                method, body, headers = "GET", b"", {}
            url = page.location
        raise AssertionError(f"too many redirects: {self.seen[-5:]}")

    def _once(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Page:
        parts = urlsplit(url)
        cookies = self.jar.setdefault(parts.netloc, {})
        given = dict(headers)
        if cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body or None, given)
            answer = connection.getresponse()
            page = Page(url, answer.status, answer.headers, answer.read())
        finally:
            connection.close()
        for line in answer.headers.get_all("set-cookie") or []:
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0].strip('"')
            if "max-age=0" in line.lower() or not value:
                cookies.pop(name, None)
            else:
                cookies[name] = value
        return page

    def get(self, url: str, *, follow: bool = True, **headers: str) -> Page:
        return self.request("GET", url, headers=headers, follow=follow)

    def post(self, url: str, values: dict[str, str], *, follow: bool = True, **headers: str) -> Page:
        form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self.request("POST", url, urlencode(values).encode(), form, follow=follow)

    def submit(self, page: Page, number: int = 0, *, follow: bool = True, **values: str) -> Page:
        """Fill in a form of a page and send it, with the headers that browsers add (Fetch, section 3.1)."""
        form = page.form(number)
        own = "/".join(page.url.split("/")[:3])
        origin = "null" if page.headers["referrer-policy"] == "no-referrer" else own
        sent = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
        return self.post(urljoin(page.url, form.action), {**form.values, **values}, follow=follow, **sent)

    def script(self, url: str, body: object) -> Page:
        """What a script of a page sends."""
        headers = {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
        return self.request("POST", url, json.dumps(body).encode(), headers)

    def cookie(self, name: str) -> str | None:
        return self.jar.get(urlsplit(self.base).netloc, {}).get(name)
