"""The head of a request as bytes. Fail closed: a name or value that could start another line is a `ValueError`.

(RFC 9110 §5.1, §5.5; RFC 9112 §3.2.1 origin form.)
"""

import re
from collections.abc import Iterable

from callgate.net.target import Target

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # HEAD's answers have no body: not needed
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset(
    {
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "accept-encoding",
        "expect",
        "te",
        "upgrade",
        "trailer",
    }
)


def build_head(method: str, target: Target, headers: Iterable[tuple[str, str]], body_length: int) -> bytes:
    """The request line and all headers, with Host, Content-Length and `Accept-Encoding: identity` set here.

    Raises `ValueError` for an unknown method, a header that is set here, or characters that HTTP does not allow.
    """
    if method not in _METHODS:
        raise ValueError(f"method {method!r} is not one of {', '.join(sorted(_METHODS))}")
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.host_header}", "Accept-Encoding: identity"]
    for name, value in headers:
        if _TOKEN.fullmatch(name) is None:
            raise ValueError("a header name has characters that HTTP does not allow")
        if name.lower() in _OURS:
            raise ValueError(f"the header {name} is set by the client itself")
        if _VALUE.fullmatch(value) is None:
            raise ValueError(f"the value of the header {name} has characters that HTTP does not allow")
        lines.append(f"{name}: {value}")
    if body_length or method in {"POST", "PUT", "PATCH"}:
        lines.append(f"Content-Length: {body_length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
