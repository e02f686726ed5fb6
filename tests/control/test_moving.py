"""Another host, another issuer: no sealed secret goes along, and no private network opens with it."""

import pytest

from tests.support.refusals import refused
from tests.support.running import Running
from tests.support.shop import Shop, open_shop

SHARED = {"mode": "shared", "secret": "top-secret"}


def test_a_secret_stays_with_the_host_that_it_was_entered_for(gateway: Running, shop: Shop) -> None:
    gateway.add_upstream("held", shop.url, auth=SHARED)
    with open_shop() as other:
        with refused("validation", "entered for"):
            gateway.operator.patch("/upstreams/held", {"url": other.url})
        with refused("validation", "entered for"):
            gateway.operator.patch("/upstreams/held", {"url": other.url, "auth": {"mode": "shared"}})
        gateway.operator.patch("/upstreams/held", {"url": f"{shop.url}?here"})
        assert not other.seen_authorization
        gateway.operator.patch("/upstreams/held", {"url": other.url, "auth": {**SHARED, "secret": "another"}})
        gateway.operator.post("/upstreams/held/refresh")
        assert set(other.seen_authorization) == {"Bearer another"}
        gateway.operator.patch("/upstreams/held", {"url": shop.url, "auth": {"mode": "none"}})


def test_a_secret_stays_with_its_issuer(gateway: Running, shop: Shop) -> None:
    auth = {"mode": "on_behalf_of", "client_id": "c", "issuer": "https://idp.test"}
    gateway.operator.post(
        "/upstreams", {"name": "by-client", "url": shop.url, "allow_private": True, "auth": {**auth, "secret": "x"}}
    )
    with refused("validation", "entered for"):
        gateway.operator.patch("/upstreams/by-client", {"auth": {**auth, "issuer": "https://other.test"}})
    assert gateway.operator.patch("/upstreams/by-client", {"auth": auth})["auth"]["has_secret"]


def test_an_admin_takes_no_private_network_along(gateway: Running, shop: Shop) -> None:
    admin, _ = gateway.person("ana@acme.test", "admin")
    gateway.add_upstream("inside", shop.url)
    for url in ("http://10.0.0.7/mcp", "http://127.0.0.1:1/mcp"):
        with refused("operator_only", "private addresses"):
            admin.patch("/upstreams/inside", {"url": url})
    assert admin.patch("/upstreams/inside", {"url": f"{shop.url}?here"})["url"] == f"{shop.url}?here"
    moved = admin.patch("/upstreams/inside", {"url": "https://mcp.example/mcp", "allow_private": False})
    assert moved["allow_private"] is False


@pytest.mark.parametrize("secret", [None, "other"])
def test_a_provider_with_another_issuer_is_another_one(gateway: Running, secret: str | None) -> None:
    one = {"issuer": "https://idp.test", "client_id": "gateway", "keep_tokens": True}
    gateway.operator.put("/providers/acme", {**one, "secret": "first"})
    assert gateway.operator.put("/providers/acme", one)["has_secret"]
    if secret is None:
        with refused("validation", "entered for"):
            gateway.operator.put("/providers/acme", {**one, "issuer": "https://other.test"})
    else:
        found = gateway.operator.put("/providers/acme", {**one, "issuer": "https://other.test", "secret": secret})
        assert found["issuer"] == "https://other.test"
