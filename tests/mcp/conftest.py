"""The gateway that the endpoint's tests share: one for each module."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.mcp.lab import Lab
from tests.mcp.wire_client import close_all
from tests.support.running import running


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("lab") / "data", max_calls_per_person=20) as run:
        yield Lab(run)


@pytest.fixture
async def clients() -> AsyncIterator[None]:
    """Ends the connections of the test's clients."""
    yield
    await close_all()
