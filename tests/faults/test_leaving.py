"""kill -9 while somebody is off-boarded: all of it happened, or none, whatever the moment."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callgate.cli.client import Client
from callgate.errors import Refused
from tests.peers.gateway import Gateway
from tests.support.shop import Shop, open_shop

KILLS, AT_MOST = 14, 40
FIRST_S = 0.004
LATER, EARLIER = 1.5, 0.7
UPSTREAMS = 3


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with open_shop() as found:
        yield found


@contextlib.contextmanager
def operator(gateway: Gateway) -> Iterator[Client]:
    client = Client.at_socket(gateway.data_dir / "control.sock")
    try:
        yield client
    finally:
        client.close()


def prepare(client: Client, email: str) -> None:
    """Somebody with everything that can end."""
    client.post("/people", {"email": email})
    for _ in range(2):
        client.post("/tokens", {"person": email})
    for number in range(UPSTREAMS):
        client.put(f"/connections/up{number}/token", {"token": f"secret-of-{email}"}, person=email)
    client.post("/agents", {"name": email.partition("@")[0], "owner": email})


def standing(client: Client, email: str) -> dict[str, Any]:
    """What is left of somebody."""
    name = email.partition("@")[0]
    return {
        "active": client.get(f"/people/{email}")["active"],
        "tokens": [one["revoked"] is None for one in client.pages("/tokens", person=email)],
        "accounts": [one["state"] == "connected" for one in client.pages("/connections", person=email)],
        "agent": client.get(f"/agents/{name}")["active"],
        "receipt": not [one for one in client.pages("/offboardings") if one["email"] == email],
    }


def test_all_or_nothing_at_every_moment(tmp_path: Path, shop: Shop) -> None:
    """The moment homes in on the commit: later while nothing happened, earlier once all of it did."""
    gateway = Gateway(tmp_path)
    gateway.up()
    outcomes: set[bool] = set()
    moment = FIRST_S
    try:
        with operator(gateway) as client:
            for number in range(UPSTREAMS):
                client.post("/upstreams", {"name": f"up{number}", "url": shop.url, "allow_private": True,
                                           "auth": {"mode": "own_token"}})  # fmt: skip
        for number in range(AT_MOST):
            if number >= KILLS and len(outcomes) == 2:
                break
            email = f"p{number}@acme.test"
            with operator(gateway) as client:
                prepare(client, email)
            _killed_while_leaving(gateway, email, moment)
            gateway.stop()
            gateway.up()
            with operator(gateway) as client:
                found = standing(client, email)
            left = {value for values in found.values() for value in (values if isinstance(values, list) else [values])}
            assert len(found["tokens"]) == 2
            assert len(found["accounts"]) == UPSTREAMS
            assert len(left) == 1, f"half of it, {moment} s after the request: {found}"
            outcomes |= left
            moment *= LATER if left == {True} else EARLIER
    finally:
        gateway.stop()
    assert outcomes == {True, False}, "every kill came too early or too late to show anything"


def _killed_while_leaving(gateway: Gateway, email: str, moment: float) -> None:
    """Ask for it, and kill the gateway so many seconds later."""
    sent = threading.Event()

    def leave() -> None:
        with operator(gateway) as client:
            sent.set()
            with contextlib.suppress(Refused, OSError):
                client.post(f"/people/{email}/deactivate")

    thread = threading.Thread(target=leave)
    thread.start()
    sent.wait(5)
    time.sleep(moment)
    os.killpg(gateway.process.popen.pid, signal.SIGKILL)
    thread.join()
