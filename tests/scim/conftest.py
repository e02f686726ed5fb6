"""One running gateway for each test, with a client that has a token for SCIM."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scim.client import Scim, open_scim
from tests.support.running import Running, running


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "data") as found:
        yield found


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def each_gateway(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    """A gateway on each database in turn."""
    url = request.getfixturevalue("pg_url") if request.param == "postgresql" else None
    with running(tmp_path / "data", database_url=url) as found:
        yield found


@pytest.fixture
def scim(gateway: Running) -> Iterator[Scim]:
    """An identity provider's client."""
    with open_scim(gateway) as found:
        yield found
