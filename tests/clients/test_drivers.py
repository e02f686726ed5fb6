"""The drivers themselves, straight against the fixture: what fails later through the gateway is the gateway's."""

from collections.abc import Iterator

import pytest

from tests.clients.runner import ALL, ClientFailed, Driver, texts
from tests.peers.processes import fixture_server


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with fixture_server() as server:
        yield server.wait_ready()


def by_size(driver: Driver) -> object:
    return pytest.param(driver, id=driver.name, marks=pytest.mark.clients if driver.large else pytest.mark.peers)


@pytest.mark.parametrize("driver", [by_size(driver) for driver in ALL])
def test_a_client_gets_the_result_of_a_tool(driver: Driver, url: str) -> None:
    report = driver.run(url, "", "echo", {"text": "canary-héllo"})
    assert driver.namer("echo") in report["tools"]
    assert "canary-héllo" in texts(report["result"])


@pytest.mark.peers
def test_a_client_without_a_server_is_a_failure() -> None:
    with pytest.raises(ClientFailed):
        ALL[0].run("http://127.0.0.1:9/mcp", "", "echo", {"text": "x"})
