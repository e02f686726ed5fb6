"""Which endpoint a URL names, and whether Host and Origin may ask for it."""

import pytest

from callgate.errors import Refused
from callgate.settings import Settings
from callgate.web import hosts, paths
from callgate.web.paths import Endpoint

LOCAL = Settings()
PUBLIC = Settings(
    host="0.0.0.0",
    public_url="https://mcp.acme.test/",
    base_domain="acme.test",
    allowed_hosts=("inside.test:8787",),
    allowed_origins=("https://app.acme.test",),
)


@pytest.mark.parametrize(
    ("path", "host", "expected"),
    [
        ("/mcp", "x", Endpoint("default", None, "/mcp")),
        ("/mcp/", "x", Endpoint("default", None, "/mcp/")),
        ("/mcp/u/files", "x", Endpoint("default", "files", "/mcp/u/files")),
        ("/t/acme/mcp", "x", Endpoint("acme", None, "/t/acme/mcp")),
        ("/t/acme/mcp/u/files/", "x", Endpoint("acme", "files", "/t/acme/mcp/u/files/")),
        ("/mcp", "mcp-gateway.beta.acme.test:443", Endpoint("beta", None, "/mcp")),
        ("/t/acme/mcp", "mcp-gateway.beta.acme.test", Endpoint("acme", None, "/t/acme/mcp")),
        ("/mcp", "mcp-gateway..acme.test", Endpoint("default", None, "/mcp")),
        ("/mcp/u/", "x", None),
        ("/mcp/u/a__b", "x", None),
        ("/mcp/u/a/b", "x", None),
        ("/t/A!/mcp", "x", None),
        ("/mcpx", "x", None),
        ("/", "x", None),
    ],
)
def test_a_path_and_a_host_name_one_endpoint(path: str, host: str, expected: Endpoint | None) -> None:
    assert paths.parse(path, host, PUBLIC) == expected


def test_without_a_base_domain_hosts_name_no_tenant() -> None:
    assert hosts.tenant_of_host("mcp-gateway.beta.acme.test", LOCAL) is None


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:8787", "[::1]:8787", "LOCALHOST"])
def test_a_local_gateway_serves_loopback_names(host: str) -> None:
    hosts.check_host(host, LOCAL)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.test",
        "evil.test:8787",
        "127.0.0.1.evil.test",
        "localhost.evil.test",
        'localhost:1" x',
        "localhost:port",
        "localhost:123456",
        "localhost:1:2",
        "a@localhost",
        "[::1",
        "local\thost",
    ],
)
def test_other_hosts_are_refused(host: str) -> None:
    with pytest.raises(Refused) as caught:
        hosts.check_host(host, LOCAL)
    assert caught.value.code == "bad_host"


@pytest.mark.parametrize("host", ["mcp.acme.test", "inside.test", "mcp-gateway.any.acme.test", "0.0.0.0:8787"])
def test_configured_hosts_are_served(host: str) -> None:
    hosts.check_host(host, PUBLIC)


@pytest.mark.parametrize(
    "origin", [None, "http://localhost:6274", "https://127.0.0.1", "https://app.acme.test", "https://mcp.acme.test"]
)
def test_own_local_and_allowed_origins_may_ask(origin: str | None) -> None:
    hosts.check_origin(origin, "mcp.acme.test", PUBLIC)


@pytest.mark.parametrize("host", ["inside.test", "inside.test:8443", "mcp-gateway.any.acme.test"])
def test_pages_of_every_host_that_is_served_may_ask_there(host: str) -> None:
    hosts.check_origin(f"https://{host}", host, PUBLIC)
    for origin in (f"http://{host}", f"https://{host}:1", f"https://{host}.evil.test"):
        with pytest.raises(Refused):
            hosts.check_origin(origin, host, PUBLIC)


@pytest.mark.parametrize("origin", ["null", "https://evil.test", "file://localhost", "https://localhost.evil.test"])
def test_foreign_origins_are_refused(origin: str) -> None:
    with pytest.raises(Refused) as caught:
        hosts.check_origin(origin, "localhost:8787", LOCAL)
    assert caught.value.kind.http == 403


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("/.well-known/oauth-protected-resource", "/mcp"),
        ("/.well-known/oauth-protected-resource/mcp", "/mcp"),
        ("/.well-known/oauth-protected-resource/t/acme/mcp/u/files", "/t/acme/mcp/u/files"),
        ("/.well-known/oauth-protected-resource/other", None),
        ("/.well-known/other", None),
        ("/mcp", None),
    ],
)
def test_metadata_stands_at_both_well_known_places(path: str, about: str | None) -> None:
    assert paths.metadata_path(path) == about


def test_the_base_is_configured_or_what_the_client_used() -> None:
    assert hosts.base_url("localhost:8787", LOCAL) == "http://localhost:8787"
    assert hosts.base_url("x", PUBLIC) == "https://mcp.acme.test"
    assert paths.metadata_url("https://a", "/mcp") == "https://a/.well-known/oauth-protected-resource/mcp"
