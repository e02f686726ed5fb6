"""Every asynchronous test of this package runs on asyncio's loop and on uvloop: their transports differ."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from callgate.net.client import Client
from callgate.net.pool import Pool
from tests.net.support import Peer


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool()
    yield pool
    await asyncio.wait_for(pool.aclose(), 10)
    assert pool.counts().open == 0


@pytest.fixture
async def client(pool: Pool) -> Client:
    return Client(pool)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    await peer.start()
    yield peer
    await peer.stop()
