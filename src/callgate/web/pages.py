"""Pages: templates that escape everything, and the headers that keep a page from being framed, cached or scripted.

No page loads anything from elsewhere; scripts are files of ours, none stands in a page. Fail closed: a template that
names what it was not given raises.
"""

from functools import lru_cache
from importlib.resources import files

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from starlette.responses import Response

_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, forms come with `Origin: null`
    "Cache-Control": "no-store",
}
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class _Loader(BaseLoader):
    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, None]:
        source = _packaged("templates", template)
        if source is None:
            raise TemplateNotFound(template)
        return source, None, None


@lru_cache(maxsize=64)
def _packaged(folder: str, name: str) -> str | None:
    if "/" in name or name.startswith("."):
        return None
    file = files("callgate.web") / folder / name
    return file.read_text("utf-8") if file.is_file() else None


_environment = Environment(loader=_Loader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def page(template: str, status: int = 200, /, **values: object) -> Response:
    """A page of a template."""
    body = _environment.get_template(f"{template}.html").render(**values)
    return Response(body, status, HEADERS, "text/html")


def sorry(status: int, title: str, sentence: str) -> Response:
    """A page that says what is wrong and what to do."""
    return page("sorry", status, title=title, sentence=sentence)


def static(name: str) -> Response | None:
    """A file that pages load; None when there is none of this name."""
    content = _packaged("static", name)
    if content is None:
        return None
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return Response(content, 200, headers, _TYPES[name.rpartition(".")[2]])


def redirect(url: str, status: int = 303) -> Response:
    """Send the browser on."""
    return Response(b"", status, {**HEADERS, "Location": url})
