"""What the official suite starts as a client: a whole gateway with the suite's server as its upstream, one person who
connects an account there, and one call. Arguments: the server's URL (the suite appends it)."""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from callgate import clock
from callgate.credentials import exchange
from callgate.credentials.envelope import Envelope
from callgate.errors import Refused
from callgate.model.grant import ProviderTokens
from callgate.store import people, provider_tokens, providers
from callgate.store.engine import Database
from tests.peers.raw_client import RawClient, RpcError
from tests.support.robot import Robot
from tests.support.running import Running, running
from tests.support.signing_in import account

TRIES = 3  # how often a person would go through the vendor's page again


def authentication() -> dict[str, Any]:
    """How an admin configures the upstream of this scenario."""
    given = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    if scenario.startswith("auth/client-credentials-jwt"):
        return {"mode": "shared", "kind": "private_key_jwt", "client_id": given["client_id"],
                "secret": given["private_key_pem"]}  # fmt: skip
    if scenario.startswith("auth/client-credentials"):
        return {"mode": "shared", "kind": "client_credentials", "client_id": given["client_id"],
                "secret": given["client_secret"]}  # fmt: skip
    if scenario.startswith("auth/basic-cimd"):  # the gateway's own document, served elsewhere
        return {"mode": "on_behalf_of", "client_id": "https://conformance-test.local/client-metadata.json"}
    if "idp_issuer" in given:
        return {"mode": "on_behalf_of", "kind": "id_jag", "provider": "idp", "client_id": given["client_id"],
                "secret": given["client_secret"]}  # fmt: skip
    if "client_id" in given:
        return {"mode": "on_behalf_of", "client_id": given["client_id"], "secret": given.get("client_secret")}
    if scenario.startswith("auth/"):
        return {"mode": "on_behalf_of"}
    return {"mode": "none"}


def connect(robot: Robot) -> None:
    """What a person does; the suite's authorization server asks nothing."""
    page = robot.get("/connections/suite")
    if "<button" in page.text:
        page = robot.submit(page)
    print(page.status, page.words, file=sys.stderr)


def signed_in(run: Running, person: str) -> None:
    """The suite's provider has no page: what signing in there would have left is put in its place."""
    given = json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])
    run.operator.put("/providers/idp", {
        "issuer": given["idp_issuer"], "client_id": given["idp_client_id"], "allow_private": True, "keep_tokens": True,
    })  # fmt: skip
    asyncio.run(_put_tokens(run, person, given["idp_id_token"]))


async def _put_tokens(run: Running, person: str, id_token: str) -> None:
    db = await Database.open(f"sqlite:///{run.settings.data_dir.resolve() / 'callgate.db'}")
    async with db.unit("default", write=False) as unit:
        provider, known = await providers.by_name(unit, "idp"), await people.by_email(unit, person)
    assert provider is not None
    assert known is not None
    bound, held = exchange.binding(provider.id, known.id), msgspec.json.encode(exchange.holding({"id_token": id_token}))
    sealed = await Envelope.open(run.settings.key_path, db).seal("default", exchange.PURPOSE, bound, held)
    async with db.unit("default") as unit:
        await provider_tokens.put(unit, ProviderTokens("default", provider.id, known.id, sealed, clock.now()))
    await db.close()


def issuer_of(url: str) -> str:
    """What an admin reads in the server's documentation."""
    parts = urlsplit(url)
    page = Robot(f"{parts.scheme}://{parts.netloc}").get(f"/.well-known/oauth-protected-resource{parts.path}")
    found: str = page.json["authorization_servers"][0]
    return found


def approve(run: Running) -> list[str]:
    seen = run.operator.post("/upstreams/suite/refresh")
    print(seen["state"], seen["reason"], file=sys.stderr)
    tools = run.operator.get("/tools")["items"]
    for tool in tools:
        if tool["status"] != "trusted":
            run.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
    return [tool["name"] for tool in tools]


def call(run: Running, token: str, tool: str) -> str:
    """The code of the outcome."""
    with RawClient(f"{run.url}/mcp", token) as client:
        try:
            result = client.call(tool)
        except RpcError as error:
            return str(error)
    print(json.dumps(result)[:500], file=sys.stderr)
    code: str = result.get("_meta", {}).get("callgate/decision", {}).get("code", "done")
    return code


def main(url: str) -> None:
    auth = authentication()
    more = {"public_url": os.environ["BROKER_PUBLIC_URL"]} if "BROKER_PUBLIC_URL" in os.environ else {}
    with tempfile.TemporaryDirectory() as place, running(Path(place), refresh_seconds=600, **more) as run:
        robot = account(run, "ana@acme.test")
        token = run.operator.post("/tokens", {"person": "ana@acme.test"})["token"]
        if auth.get("kind") == "id_jag":
            auth["issuer"] = issuer_of(url)
            signed_in(run, "ana@acme.test")
        try:
            run.add_upstream("suite", url, auth=auth)
        except Refused as refused:
            print(refused.sentence, file=sys.stderr)
        if auth["mode"] == "on_behalf_of":
            connect(robot)
        for attempt in range(TRIES):
            tools = approve(run)
            codes = {call(run, token, tool) for tool in tools}
            print(attempt, codes, file=sys.stderr)
            if auth["mode"] != "on_behalf_of":
                break
            state = run.operator.get("/connections/suite", person="ana@acme.test")["state"]
            print(state, file=sys.stderr)
            if state in ("connected", "not_connected") or attempt == TRIES - 1:
                break
            connect(robot)


if __name__ == "__main__":
    main(sys.argv[1])
