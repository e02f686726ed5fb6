"""What a URL may look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.net.errors import EgressRefused
from callgate.net.target import parse_target


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "path", "host_header"),
    [
        ("https://mcp.example/mcp", "https", "mcp.example", 443, "/mcp", "mcp.example"),
        ("HTTP://MCP.Example:8080", "http", "mcp.example", 8080, "/", "mcp.example:8080"),
        ("https://mcp.example:443/a?b=c&d=%20", "https", "mcp.example", 443, "/a?b=c&d=%20", "mcp.example"),
        ("http://mcp.example?x=1", "http", "mcp.example", 80, "/?x=1", "mcp.example"),
        ("http://127.0.0.1:9/x", "http", "127.0.0.1", 9, "/x", "127.0.0.1:9"),
        ("http://[::1]:9/x", "http", "::1", 9, "/x", "[::1]:9"),
        ("http://[0:0:0:0:0:0:0:1]/", "http", "::1", 80, "/", "[::1]"),
        ("https://xn--bcher-kva.example/", "https", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
        ("http://my_service.local/", "http", "my_service.local", 80, "/", "my_service.local"),
    ],
)
def test_a_plain_url_is_read(url: str, scheme: str, host: str, port: int, path: str, host_header: str) -> None:
    target = parse_target(url)
    assert (target.scheme, target.host, target.port) == (scheme, host, port)
    assert (target.path, target.host_header) == (path, host_header)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "form"),
        ("mcp.example/mcp", "form"),
        ("//mcp.example/", "form"),
        ("https:/mcp.example", "form"),
        ("ftp://mcp.example/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://127.0.0.1:6379/_x", "scheme"),
        ("unix:///run/x.sock", "scheme"),
        ("https:///path", "no host"),
        ("https://user@mcp.example/", "user"),
        ("https://user:pw@mcp.example/", "user"),
        ("https://good.example@127.0.0.1/", "user"),
        ("https://mcp.example/#x", "fragment"),
        ("https://mcp.example#@evil.example/", "fragment"),
        ("https://mcp.example\\@evil.example/", "backslash"),
        ("https://mcp.example/ x", "space"),
        (" https://mcp.example/", "space"),
        ("https://mcp.example/\r\nX: y", "control"),
        ("https://mcp.example/\x00", "control"),
        ("https://bücher.example/", "ASCII"),
        ("https://①②⑦.⓪.⓪.①/", "ASCII"),
        ("https://mcp。example/", "ASCII"),
        ("https://mcp.example:0/", "port"),
        ("https://mcp.example:65536/", "port"),
        ("https://mcp.example:08080/", "port"),
        ("https://mcp.example:/", "port"),
        ("https://mcp.example:+80/", "port"),
        ("https://mcp.example:80:80/", "port"),
        ("http://2130706433/", "number"),
        ("http://0x7f000001/", "number"),
        ("http://0x7f.1/", "number"),
        ("http://017700000001/", "number"),
        ("http://127.1/", "number"),
        ("http://127.0.0.01/", "number"),
        ("http://127.0.0.1.5/", "number"),
        ("http://1.2.3.0x/", "number"),
        ("http://[::1/", "closed"),
        ("http://[::1]x/", "closed"),
        ("http://[::g]/", "IPv6"),
        ("http://[fe80::1%25eth0]/", "zone"),
        ("http://%6c%6fcalhost/", "host name"),
        ("http://-bad.example/", "host name"),
        ("http://a..b/", "host name"),
        ("http://mcp.example./", "host name"),
        ("http://exa mple/", "space"),
        ("http://mcp.example/{x}", "percent-encoded"),
        ('http://mcp.example/"x"', "percent-encoded"),
        ("http://mcp.example/" + "a" * 9000, "longer"),
    ],
)
def test_a_doubtful_url_is_refused_with_what_is_wrong(url: str, why: str) -> None:
    with pytest.raises(EgressRefused, match=why):
        parse_target(url)


@given(st.text(max_size=80) | st.from_regex(r"https?://[^ ]{0,40}", fullmatch=True))
def test_any_text_is_either_refused_or_read_into_safe_parts(url: str) -> None:
    """Property: what comes through can be put into a request line and a Host header."""
    try:
        target = parse_target(url)
    except EgressRefused:
        return
    assert target.scheme in {"http", "https"}
    assert 1 <= target.port <= 65535
    assert target.path.startswith("/")
    for part in (target.host, target.path, target.host_header):
        assert part.isascii()
        assert part.isprintable()
        assert not set(part) & set(" @#\\\r\n")
