"""Kill -9 under load: every call that the upstream received is in the audit, and no result came without its record."""

import random
from pathlib import Path

import pytest

from tests.faults.load import Load, Records
from tests.peers.gateway import Gateway, http_upstream
from tests.peers.hostile import HostileUpstream

SEED = 20261123
TOOLS = 1500


def kill_rounds(load: Load, records: Records, rounds: int) -> None:
    """Load, kill at a moment that the seed decides, start again."""
    chance = random.Random(SEED)
    for _ in range(rounds):
        before = records.received().total()
        target = before + chance.randrange(5, 60)
        with load.running():
            load.until(lambda target=target: records.received().total() >= target)  # type: ignore[misc]
            load.gateway.process.popen.kill()
            load.gateway.process.popen.wait(10)
        load.gateway.stop()
        load.gateway.up()


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_kill_dash_nine_loses_no_record(tmp_path: Path, rounds: int) -> None:
    log = tmp_path / "upstream.jsonl"
    with HostileUpstream(log=log, options=["--many", str(TOOLS), "--page", "1000"]) as upstream:
        gateway = Gateway(tmp_path)
        try:
            gateway.up()
            gateway.govern([http_upstream("many", upstream.url)])
            load, records = Load(gateway, gateway.token(), TOOLS), Records(gateway, log)
            kill_rounds(load, records, rounds)
            records.check(load.delivered)
        finally:
            gateway.stop()
