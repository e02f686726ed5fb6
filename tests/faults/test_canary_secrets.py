"""No secret of identity is kept in the clear: passwords, tokens, codes, sessions, accounts and client secrets go
through every door, then every byte that the gateway wrote is searched for them."""

import json
from pathlib import Path
from typing import Any

from callgate.cli.client import Client as Api
from tests.peers.gateway import Gateway
from tests.support.openid import open_guarded, open_provider
from tests.support.robot import Robot
from tests.support.shop import open_shop
from tests.support.signing_in import PASSWORD, Client, ask, enrolled

MARK = "CANARY9e1c"
EMAIL = "ana@acme.test"
CALL = {"name": "shop__list_orders", "arguments": {}}


def everything(gateway: Gateway, guarded: Any, shop: Any, provider: Any) -> set[str]:
    """Use every kind of secret; all of them."""
    operator = Api.at_socket(gateway.data_dir / "control.sock")
    secrets = {PASSWORD, f"{MARK}-own-token", f"{MARK}-provider-secret"}
    operator.post("/upstreams", {"name": "shop", "url": guarded.url, "auth": {"mode": "on_behalf_of"}})
    operator.post("/upstreams", {"name": "own", "url": shop.url, "auth": {"mode": "own_token"}})
    body = {"issuer": provider.issuer, "client_id": "x", "secret": f"{MARK}-provider-secret"}
    operator.put("/providers/acme", body)
    operator.post("/people", {"email": EMAIL, "roles": ["admin", "member"]})
    link = operator.post(f"/people/{EMAIL}/link")["url"]
    robot = enrolled(gateway.url, link)
    secrets |= {link.rpartition("/")[2], *robot.jar[gateway.url.partition("://")[2]].values()}
    provider.sign_in(robot, robot.submit(robot.get("/connections/shop")), "vendor-ana")
    operator.put("/connections/own/token", {"token": f"{MARK}-own-token"}, person=EMAIL)
    operator.post("/upstreams/shop/refresh")
    for tool in operator.get("/tools", limit=500)["items"]:
        operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
    client = Client(gateway.url)
    client.register()
    code = client.code(robot)
    issued = client.redeem(code).json
    renewed = client.refresh(issued["refresh_token"]).json
    secrets |= {
        code,
        client.verifier,
        *(one[name] for one in (issued, renewed) for name in ("access_token", "refresh_token")),
    }
    assert ask(gateway.url, renewed["access_token"], "tools/call", CALL).status == 200
    made = operator.post("/clients", {"name": "nightly", "confidential": True, "owner": EMAIL})
    secrets.add(made["secret"])
    client.id, client.secret = made["client_id"], made["secret"]
    secrets.add(client.token(grant_type="client_credentials").json["access_token"])
    page = robot.submit(robot.get("/account"), 1)
    secrets.add(page.text.partition("<code>")[2].partition("</code>")[0])
    Robot(gateway.url).post("/oauth/token", {"grant_type": "refresh_token", "refresh_token": f"cgr_{MARK}"})
    wrong = Robot(gateway.url)
    wrong.submit(wrong.get("/signin"), email=f"{MARK}@acme.test", password=f"{MARK}-wrong-password")
    secrets |= {one.removeprefix("Bearer ") for one in (*guarded.seen_authorization, *shop.seen_authorization) if one}
    operator.post(f"/people/{EMAIL}/deactivate")
    operator.close()
    return secrets


def test_no_secret_is_found_in_what_was_written(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, settings={"CALLGATE_LOG_LEVEL": "debug", "CALLGATE_CLIENT_DOCUMENTS": "off"})
    gateway.up()
    try:
        with open_provider({"vendor-ana": {}}) as provider, open_guarded(provider) as guarded, open_shop() as shop:
            secrets = everything(gateway, guarded, shop, provider)
        recorded = gateway.cli("audit", "export", "--format", "csv")
        said = gateway.process.text()
    finally:
        gateway.stop()
    assert len(secrets) > 12, json.dumps(sorted(secrets))
    assert any(secret.startswith("eyJ") for secret in secrets), "no access token of the vendor was seen"
    written = {path.name: path.read_bytes() for path in gateway.data_dir.rglob("*") if path.is_file()}
    assert any(name.endswith(".db") for name in written)
    for secret in {*secrets, MARK, MARK.lower()}:
        assert secret not in recorded
        assert secret not in said
        assert [name for name, raw in written.items() if secret.encode() in raw] == [], secret[:4]
