"""Calls without a pause, as the clients of many people make them."""

import threading
import time
from http.client import HTTPException

from tests.peers.gateway import Gateway
from tests.peers.raw_client import RawClient, RpcError


class Load:
    """Calls without a pause until it is stopped."""

    def __init__(self, gateway: Gateway, token: str, tools: list[str]) -> None:
        self.done = threading.Event()
        self.codes: list[tuple[float, str]] = []
        self.threads = [
            threading.Thread(target=self._work, args=(gateway, token, tools[number::4])) for number in range(4)
        ]
        for thread in self.threads:
            thread.start()

    def _work(self, gateway: Gateway, token: str, tools: list[str]) -> None:
        count = 0
        while not self.done.is_set():
            try:
                with RawClient(f"{gateway.url}/mcp", token) as client:
                    while not self.done.is_set():
                        count += 1
                        result = client.call(tools[count % len(tools)])
                        code = result.get("_meta", {}).get("callgate/decision", {}).get("code", "done")
                        self.codes.append((time.monotonic(), code))
            except (OSError, RpcError, AssertionError, HTTPException) as error:
                self.codes.append((time.monotonic(), type(error).__name__))
                time.sleep(0.05)

    def stop(self) -> list[tuple[float, str]]:
        self.done.set()
        for thread in self.threads:
            thread.join()
        return self.codes
