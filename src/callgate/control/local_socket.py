"""The local door of the control API: a unix socket that only this user can open, and who is at its other end.

Linux tells the user id of the peer (SO_PEERCRED, unix(7)); it goes into the ASGI scope's state, which nothing that
came over TCP can set. Fail closed: another user than this one or root is not let in, whatever the file's mode says.
"""

import asyncio
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from callgate.control.actor import PEER_UID
from callgate.errors import Refused

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_MAX_PATH = 100


def bind(path: Path) -> socket.socket:
    """A listening socket with mode 0600; a left-over of a dead process is replaced. Needs the data directory's lock.

    Raises `Refused("bad_setting")` when the file cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    # an address holds about 100 bytes; a longer path goes through a descriptor of its directory
    address = str(path) if len(os.fsencode(path)) <= _MAX_PATH else f"/proc/self/fd/{directory}/{path.name}"
    before = os.umask(0o177)
    try:
        if path.is_socket():
            path.unlink()
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise Refused("bad_setting", f"The control socket {path} cannot be made: {error.strerror}.") from None
    finally:
        os.umask(before)
        os.close(directory)
    if stat.S_IMODE(path.stat().st_mode) != 0o600:
        path.chmod(0o600)
    listener.setblocking(False)
    return listener


class LocalProtocol(HttpToolsProtocol):
    """uvicorn's HTTP with the peer's user id in each request's scope."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A program of this machine connects."""
        super().connection_made(transport)
        uid = peer_uid(transport.get_extra_info("socket"))
        if uid not in (0, os.geteuid()):
            transport.abort()
            return
        self.app_state: dict[str, Any] = {**self.app_state, PEER_UID: uid}


def peer_uid(connection: Any) -> int:
    """The user id at the other end of a unix socket. Raises OSError."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])
