"""Real clients, each a program of its own, make a real tool call through the gateway with a token of a person."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.runner import ALL, ClientFailed, Driver, texts
from tests.peers.gateway import Gateway, http_upstream
from tests.peers.processes import fixture_server

pytestmark = pytest.mark.clients


@dataclass(frozen=True)
class Lab:
    gateway: Gateway
    token: str

    @property
    def url(self) -> str:
        return f"{self.gateway.url}/mcp"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    place: Path = tmp_path_factory.mktemp("clients")
    with fixture_server("both") as both, fixture_server("legacy") as legacy:
        gateway = Gateway(place)
        try:
            gateway.up()
            gateway.govern([http_upstream("both", both.wait_ready()), http_upstream("old", legacy.wait_ready())])
            yield Lab(gateway, gateway.token())
        finally:
            gateway.stop()


@pytest.mark.parametrize("upstream", ["both", "old"])
@pytest.mark.parametrize("driver", ALL, ids=lambda driver: driver.name)
def test_a_client_calls_a_tool_through_the_one_url(driver: Driver, upstream: str, lab: Lab) -> None:
    name = f"{upstream}__echo"
    report = driver.run(lab.url, lab.token, name, {"text": f"canary-héllo-{upstream}"})
    assert driver.namer(name) in report["tools"]
    assert f"canary-héllo-{upstream}" in texts(report["result"])


@pytest.mark.parametrize("driver", ALL, ids=lambda driver: driver.name)
def test_a_client_without_a_token_gets_nothing(driver: Driver, lab: Lab) -> None:
    with pytest.raises(ClientFailed):
        driver.run(lab.url, "", "both__echo", {"text": "canary"})


def test_every_call_stands_in_the_audit_without_its_text(lab: Lab) -> None:
    driver = ALL[0]
    driver.run(lab.url, lab.token, "both__echo", {"text": "canary-never-stored"})
    export = lab.gateway.cli("audit", "export", "--format", "csv")
    assert "echo" in export
    assert "canary" not in export
