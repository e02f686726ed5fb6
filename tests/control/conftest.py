"""One running gateway per test module, and an upstream in this process."""

from collections.abc import Iterator

import pytest

from tests.support.running import Running, running
from tests.support.shop import Shop, open_shop


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("gateway") / "data") as found:
        yield found


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as found:
        yield found
