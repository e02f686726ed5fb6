"""Real clients make a call that waits for a person: approved after 20 seconds, after four minutes, denied.

Each client acts for a person of its own, so that each call has an approval of its own. A client that is told to call
again does so, as its model would. The upstream counts: every approved call reaches it once, every denied one never.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from callgate.cli.client import Client
from tests.clients.runner import ALL, ClientFailed, Driver, texts
from tests.peers.gateway import Gateway, http_upstream
from tests.support.shop import Shop, open_shop

pytestmark = pytest.mark.clients
ORDER = {"order_id": "A-1001"}
TOOL = "shop__read_order"
_REPEATS = 8


@dataclass
class Lab:
    gateway: Gateway
    shop: Shop
    number: int = 0

    def person(self) -> str:
        """The token of somebody new."""
        self.number += 1
        email = f"person{self.number}@acme.test"
        with closing(self.operator()) as operator:
            operator.post("/people", {"email": email})
            token: str = operator.post("/tokens", {"person": email})["token"]
        return token

    def operator(self) -> Client:
        """A new connection: one that rests for minutes is closed."""
        return Client.at_socket(self.gateway.data_dir / "control.sock")

    def make(self, driver: Driver, token: str) -> tuple[str, int]:
        """What the client's model reads in the end, and how often it had to call."""
        for attempt in range(1, _REPEATS):
            said = self.read(driver, token)
            if "same arguments" not in said:
                return said, attempt
        raise AssertionError(f"{driver.name} was told to call again {_REPEATS} times")

    def read(self, driver: Driver, token: str) -> str:
        """What the model reads of one call; some clients end with an error after a result that is one."""
        try:
            return texts(driver.run(f"{self.gateway.url}/mcp", token, TOOL, ORDER, seconds=450)["result"])
        except ClientFailed as failed:
            if "callgate/decision" not in str(failed):
                raise
            return str(failed)

    def answer_later(self, seconds: float, verb: str) -> threading.Event:
        """Answer whatever waits from so many seconds on, until the event is set."""
        done = threading.Event()

        def answer() -> None:
            done.wait(seconds)
            while not done.wait(0.5):
                with closing(self.operator()) as client:
                    for one in list(client.pages("/approvals", state="pending")):
                        client.post(f"/approvals/{one['id']}/{verb}", {"reason": "as the test says"})

        threading.Thread(target=answer, daemon=True).start()
        return done


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    place: Path = tmp_path_factory.mktemp("approvals")
    with ExitStack() as stack:
        shop = stack.enter_context(open_shop())
        gateway = Gateway(place)
        stack.callback(gateway.stop)
        gateway.up()
        gateway.govern([http_upstream("shop", shop.url)])
        lab = Lab(gateway, shop)
        rule: dict[str, Any] = {"id": "ask", "title": "Ask first", "effect": "require_approval"}
        with closing(lab.operator()) as operator:
            operator.post("/rules", {**rule, "match": {"tool": ["read_order"]}})
        yield lab


def make_all(lab: Lab, seconds: float, verb: str) -> dict[str, tuple[str, int]]:
    """Every client at once: what each read, and how often it called."""
    done = lab.answer_later(seconds, verb)
    try:
        with ThreadPoolExecutor(len(ALL)) as pool:
            waiting = {driver.name: pool.submit(lab.make, driver, lab.person()) for driver in ALL}
            return {name: one.result(500) for name, one in waiting.items()}
    finally:
        done.set()


def test_approved_after_20_seconds_within_the_first_call(lab: Lab) -> None:
    before = lab.shop.calls
    read = make_all(lab, 20, "approve")
    assert {name for name, (said, _) in read.items() if "A-1001" not in said} == set()
    assert {name for name, (_, calls) in read.items() if calls > 1} == set()
    assert lab.shop.calls == before + len(ALL)


def test_approved_after_four_minutes(lab: Lab) -> None:
    before = lab.shop.calls
    read = make_all(lab, 240, "approve")
    assert {name for name, (said, _) in read.items() if "A-1001" not in said} == set()
    modern = {"python-sdk-2", "typescript-client-2", "inspector", "claude-code", "codex"}
    assert {name for name in modern if read[name][1] > 1} == set()
    assert lab.shop.calls == before + len(ALL)


def test_denied_with_a_reason_that_the_model_reads(lab: Lab) -> None:
    before = lab.shop.calls
    read = make_all(lab, 5, "deny")
    assert {name for name, (said, _) in read.items() if "as the test says" not in said} == set()
    assert lab.shop.calls == before
