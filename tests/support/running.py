"""A gateway in this process with its doors, for tests of the control API and the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from callgate import clock
from callgate.cli.client import Client
from callgate.cli.local import LocalGateway
from callgate.errors import Refused
from callgate.settings import Settings
from tests.support.postgres import OWNER, Cluster


class Running:
    """One gateway: `operator` is the client at its local socket."""

    def __init__(self, gateway: LocalGateway, settings: Settings) -> None:
        assert gateway.url is not None
        self.url = gateway.url
        self.settings = settings
        self.operator = Client.at_socket(settings.control_socket)
        self.clients: list[Client] = [self.operator]

    def person(self, email: str, *roles: str, **token: Any) -> tuple[Client, str]:
        """A person with these roles: a client with a token of theirs, and the token."""
        try:
            self.operator.post("/people", {"email": email, "roles": roles})
        except Refused as refused:
            if refused.code != "conflict":
                raise
        issued: str = self.operator.post("/tokens", {"person": email, **token})["token"]
        client = Client.at_url(self.url, issued)
        self.clients.append(client)
        return client, issued

    def add_upstream(self, name: str, url: str, **more: Any) -> dict[str, Any]:
        """Add an HTTP upstream at a private address and look at it."""
        self.operator.post("/upstreams", {"name": name, "url": url, "allow_private": True, **more})
        seen: dict[str, Any] = self.operator.post(f"/upstreams/{name}/refresh")
        return seen


@contextmanager
def on_each(request: pytest.FixtureRequest, places: pytest.TempPathFactory, **settings: Any) -> Iterator["Running"]:
    """A gateway on the database that a fixture's parameter names: `sqlite` or `postgresql`."""
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("pg_cluster")
        name = f"running_{clock.random_bytes(6).hex()}"
        cluster.sql(f"CREATE DATABASE {name} OWNER {OWNER}")
        settings["database_url"] = cluster.url(name)
    with running(places.mktemp("running"), **settings) as found:
        yield found


@contextmanager
def running(data_dir: Path, **settings: Any) -> Iterator[Running]:
    """A gateway with a TCP port on loopback until the end of the block."""
    found = Settings(data_dir=data_dir, port=0, poll_seconds=0.2, shutdown_seconds=1, **settings)
    with LocalGateway(found, tcp=True) as gateway:
        run = Running(gateway, found)
        try:
            yield run
        finally:
            for client in run.clients:
                client.close()
