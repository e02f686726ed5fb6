"""One gateway for the tests of a file."""

from collections.abc import Iterator

import pytest

from tests.support.robot import Robot
from tests.support.running import Running, on_each
from tests.support.shop import Shop, open_shop
from tests.support.signing_in import account


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with on_each(request, tmp_path_factory, client_documents="off") as found:
        yield found


@pytest.fixture(scope="module")
def ana(run: Running) -> Robot:
    return account(run, "ana@acme.test")


@pytest.fixture(scope="module")
def ben(run: Running) -> Robot:
    return account(run, "ben@acme.test")


@pytest.fixture(scope="module")
def shop(run: Running) -> Iterator[Shop]:
    """An upstream with trusted tools."""
    with open_shop() as found:
        run.add_upstream("shop", found.url)
        for tool in run.operator.get("/tools")["items"]:
            run.operator.post(f"/tools/{tool['name']}/approve", {"full": tool["full"]})
        yield found
