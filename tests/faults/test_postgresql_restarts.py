"""PostgreSQL restarted under load: every call that the upstream received is in the audit, and no result came without
its record. The gateway is not restarted: it has to find its way back.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.load import WORKERS, Load, Records
from tests.peers.gateway import Gateway, http_upstream
from tests.peers.hostile import HostileUpstream
from tests.support.postgres import OWNER, Cluster

pytestmark = pytest.mark.postgres
SEED = 20261123
TOOLS = 500


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server that this test may stop."""
    found = Cluster.start()
    try:
        found.sql(f"CREATE DATABASE restarted OWNER {OWNER}")
        yield found
    finally:
        found.destroy()


def at_once(load: Load, cluster: Cluster, chance: random.Random) -> None:
    """It crashes and is started again."""
    cluster.restart("immediate")


def away(load: Load, cluster: Cluster, chance: random.Random) -> None:
    """It crashes, and is started again after a while."""
    cluster.down("immediate")
    load.until(refused(load, chance.randrange(1, 100)))
    cluster.up()


def hangs(load: Load, cluster: Cluster, chance: random.Random) -> None:
    """It answers nothing, so long that records fail; then it crashes, or goes on as if nothing had been."""
    with cluster.frozen():  # each client may have to wait for a time-out, and then for the next one
        load.until(refused(load, chance.randrange(1, WORKERS + 1)), 120)
    if chance.random() < 0.5:
        cluster.restart("immediate")


FAULTS = (at_once, away, hangs)


def restart_rounds(load: Load, cluster: Cluster, rounds: int) -> None:
    """Under load, at moments that the seed decides."""
    chance = random.Random(SEED)
    for number in range(rounds):
        load.until(served(load, chance.randrange(20, 200)))
        FAULTS[number % len(FAULTS)](load, cluster, chance)
    load.until(served(load, 50))


def served(load: Load, more: int) -> Callable[[], bool]:
    before = load.delivered.total()
    return lambda: load.delivered.total() >= before + more


def refused(load: Load, more: int) -> Callable[[], bool]:
    before = load.refused
    return lambda: load.refused >= before + more


@pytest.mark.parametrize("rounds", [4, pytest.param(30, marks=pytest.mark.soak)])
def test_a_postgresql_that_restarts_loses_no_record(tmp_path: Path, cluster: Cluster, rounds: int) -> None:
    log = tmp_path / "upstream.jsonl"
    with HostileUpstream(log=log, options=["--many", str(TOOLS)]) as upstream:
        gateway = Gateway(tmp_path, database_url=cluster.url("restarted"))
        try:
            gateway.up()
            gateway.govern([http_upstream("many", upstream.url)])
            load, records = Load(gateway, gateway.token(), TOOLS), Records(gateway, log)
            with load.running():
                restart_rounds(load, cluster, rounds)
            records.check(load.delivered)
        finally:
            gateway.stop()
