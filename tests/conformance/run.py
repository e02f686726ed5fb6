"""`make conformance`: the official suite through the gateway, one line a set: `<revision>: <passed>/<scored>`.

    python -m tests.conformance.run                                 # starts fixture and gateway, all sets
    python -m tests.conformance.run --url URL --set 2026-07-28      # one set against any MCP endpoint

Exits 1 when a score is below what is demanded, and then names the scenarios that failed.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.conformance.suite import SETS, Score, run
from tests.peers.environments import Missing
from tests.peers.gateway import Gateway, header_proxy, http_upstream
from tests.peers.processes import fixture_server

# (label, set, fixture variant, demanded)
GATEWAY_RUNS = (
    ("2025-11-25", "2025-11-25", "both", 30),
    ("2026-07-28", "2026-07-28", "both", 37),
    ("0.1.16", "0.1.16", "both", 32),
    ("2025-11-25 client, modern-only upstream", "2025-11-25", "modern", 26),
    ("2026-07-28 client, handshake-only upstream", "2026-07-28", "legacy", 27),
)


def report(score: Score, demanded: int, label: str = "") -> bool:
    print(score.line(label), flush=True)
    if score.passed >= demanded:
        return True
    print(f"  demanded {demanded}; failed: {', '.join(score.failed)}", file=sys.stderr, flush=True)
    return False


def through_gateway(place: Path) -> bool:
    """Every run of the table above, each variant of the fixture as an upstream of its own."""
    with ExitStack() as stack:
        upstreams = []
        for variant in ("both", "modern", "legacy"):
            url = stack.enter_context(fixture_server(variant)).wait_ready()
            upstreams.append(http_upstream(f"fixture-{variant}", url))
        gateway = Gateway(place)
        stack.callback(gateway.stop)
        gateway.up()
        gateway.govern(upstreams)
        base = header_proxy(stack, [gateway.port], [f"Authorization: Bearer {gateway.token()}"])
        good = True
        for number, (label, name, variant, demanded) in enumerate(GATEWAY_RUNS):
            score = run(f"{base}/mcp/u/fixture-{variant}", name, place / f"results-{number}")
            good = report(score, demanded, label) and good
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the official MCP conformance suite")
    parser.add_argument("--url", help="an MCP endpoint; without it the gateway is started")
    parser.add_argument("--set", choices=tuple(SETS), action="append", help="default: all")
    parser.add_argument("--require", type=int, help="the score demanded (default: all of the set)")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="conformance-") as place:
            if options.url is None:
                return 0 if through_gateway(Path(place)) else 1
            good = True
            for name in options.set or SETS:
                demanded = SETS[name][2] if options.require is None else options.require
                good = report(run(options.url, name, Path(place) / name), demanded) and good
            return 0 if good else 1
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
