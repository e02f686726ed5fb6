"""A transparent HTTP proxy for tests: adds headers, changes nothing else, and may spread requests over backends.

    python header_proxy.py --backend HOST:PORT [--backend HOST:PORT …] [--header 'Name: value' …]
                           [--port N] [--host keep|backend]

The conformance suite cannot send an `Authorization` header, and "no affinity" needs something that has none: each
request goes to the next backend in turn. Bytes pass both ways as they come, unbuffered; `Host` stays what the client
sent unless `--host backend` is given. When one side closes, the other is closed at once, because for the modern
era a closed stream is a cancellation. Every connection carries one request (`Connection: close` towards both
sides), so that the next request may meet another backend. Prints `ready http://127.0.0.1:PORT`. Loopback only.

Fail closed: a request head that cannot be read is answered 400, a backend that cannot be reached 502.
"""

import argparse
import asyncio
import contextlib
import itertools
import socket
from collections.abc import Iterator, Sequence

HEAD_LIMIT = 64 * 1024
CHUNK = 64 * 1024
Backend = tuple[str, int]


class Proxy:
    """Adds `headers` to each request and sends it to the next of `backends`."""

    def __init__(self, backends: Sequence[Backend], headers: Sequence[str] = (), *, keep_host: bool = True) -> None:
        self._turn: Iterator[Backend] = itertools.cycle(backends)
        self._headers = [header.encode("latin-1") for header in headers]
        self._replaced = {header.split(b":", 1)[0].strip().lower() for header in self._headers}
        self._keep_host = keep_host

    async def serve(self, listener: socket.socket) -> asyncio.Server:
        return await asyncio.start_server(self._connection, sock=listener, limit=HEAD_LIMIT)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: asyncio.StreamWriter | None = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            backend = next(self._turn)
            answer, upstream = await asyncio.open_connection(*backend)
            upstream.write(self._request_head(head, backend))
            await _both_ways(reader, upstream, answer, writer)
        except asyncio.LimitOverrunError:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except OSError:
            if upstream is None:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except asyncio.IncompleteReadError:
            pass
        finally:
            for side in (upstream, writer):
                await _close(side)

    def _request_head(self, head: bytes, backend: Backend) -> bytes:
        first, *lines = head[:-4].split(b"\r\n")
        kept = [line for line in lines if not self._dropped(line.split(b":", 1)[0].strip().lower())]
        if not self._keep_host:
            kept.append(b"Host: %b:%d" % (backend[0].encode(), backend[1]))
        return b"\r\n".join([first, *kept, *self._headers, b"Connection: close", b"", b""])

    def _dropped(self, name: bytes) -> bool:
        return name in (b"connection", b"keep-alive") or name in self._replaced or (
            name == b"host" and not self._keep_host
        )  # fmt: skip


async def _both_ways(
    client: asyncio.StreamReader,
    to_backend: asyncio.StreamWriter,
    backend: asyncio.StreamReader,
    to_client: asyncio.StreamWriter,
) -> None:
    """Pass bytes until either side closes. What the backend sent before it closed still reaches the client."""
    up = asyncio.create_task(_pass_on(client, to_backend))
    down = asyncio.create_task(_pass_on(backend, to_client))
    _, pending = await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(up, down, return_exceptions=True)


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()


async def _close(writer: asyncio.StreamWriter | None) -> None:
    if writer is not None:
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()


def parse_backend(text: str) -> Backend:
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", int(port)


async def run(proxy: Proxy, port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    server = await proxy.serve(listener)
    print(f"ready http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="Transparent header-adding proxy for tests (loopback only)")
    parser.add_argument("--backend", action="append", required=True, type=parse_backend)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", choices=("keep", "backend"), default="keep")
    options = parser.parse_args()
    proxy = Proxy(options.backend, options.header, keep_host=options.host == "keep")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(proxy, options.port))


if __name__ == "__main__":
    main()
