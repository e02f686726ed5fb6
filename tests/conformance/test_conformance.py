"""The official suite through the gateway: the same scores as the fixture reaches directly."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.suite import run
from tests.peers.gateway import Gateway, header_proxy, http_upstream, replicas
from tests.peers.processes import fixture_server
from tests.support.postgres import OWNER, Cluster

pytestmark = pytest.mark.peers
VARIANTS = ("both", "modern", "legacy")
REPLICAS = 3


@dataclass(frozen=True)
class Lab:
    """`base` is the URL of a proxy that adds the token of a person."""

    base: str

    def url(self, variant: str) -> str:
        return f"{self.base}/mcp/u/fixture-{variant}"


def start_fixtures(stack: ExitStack) -> list[dict[str, object]]:
    servers = {variant: stack.enter_context(fixture_server(variant)) for variant in VARIANTS}
    return [http_upstream(f"fixture-{variant}", server.wait_ready()) for variant, server in servers.items()]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One gateway on its embedded store."""
    with ExitStack() as stack:
        gateway = Gateway(tmp_path_factory.mktemp("conformance"))
        stack.callback(gateway.stop)
        gateway.up()
        gateway.govern(start_fixtures(stack))
        yield Lab(header_proxy(stack, [gateway.port], [f"Authorization: Bearer {gateway.token()}"]))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, pg_cluster: Cluster) -> Iterator[Lab]:
    """Three replicas on one PostgreSQL database and with one key file, behind a proxy without any affinity."""
    pg_cluster.sql(f"CREATE DATABASE conformance OWNER {OWNER}")
    with ExitStack() as stack:
        found = replicas(stack, tmp_path_factory.mktemp("replicas"), pg_cluster.url("conformance"), REPLICAS)
        found[0].govern(start_fixtures(stack))
        token = found[0].token()
        ports = [gateway.port for gateway in found]
        yield Lab(header_proxy(stack, ports, [f"Authorization: Bearer {token}"]))


@pytest.mark.parametrize(
    ("name", "variant", "demanded"),
    [
        ("2025-11-25", "both", 30),
        ("2026-07-28", "both", 37),
        ("0.1.16", "both", 32),
        ("2025-11-25", "modern", 26),
        ("2026-07-28", "legacy", 27),
        ("2025-11-25", "legacy", 30),
        ("2026-07-28", "modern", 37),
    ],
)
def test_the_suite_scores_through_the_gateway(one: Lab, name: str, variant: str, demanded: int, tmp_path: Path) -> None:
    score = run(one.url(variant), name, tmp_path)
    print(score.line())
    assert score.passed >= demanded, score.failed


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("name", "variant", "demanded"),
    [
        ("2025-11-25", "both", 30),
        ("2026-07-28", "both", 37),
        ("0.1.16", "both", 32),
        ("2025-11-25", "modern", 26),
        ("2026-07-28", "legacy", 27),
    ],
)
def test_the_suite_scores_over_three_replicas_without_affinity(
    three: Lab, name: str, variant: str, demanded: int, tmp_path: Path
) -> None:
    score = run(three.url(variant), name, tmp_path)
    print(score.line())
    assert score.passed >= demanded, score.failed
