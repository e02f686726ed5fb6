"""Opening a connection: checked addresses in, an open connection out.

The address that was checked is the address that is connected to; the host name is used only for TLS (server name
indication and the check of the certificate). Fail closed: a certificate that does not fit ends the attempt at once,
other addresses are not tried.
"""

import asyncio
import os
import ssl

from callgate.net.connection import Connection
from callgate.net.errors import ConnectFailed, TlsFailed
from callgate.net.policy import TargetPolicy
from callgate.net.target import Target
from callgate.net.trust import TlsContexts

_MAX_ATTEMPTS = 4


async def dial(
    target: Target, policy: TargetPolicy, addresses: tuple[str, ...], tls: TlsContexts, *, seconds: float, idle: float
) -> Connection:
    """Open a connection to the first address that answers; `seconds` is shared fairly among the attempts.

    Raises `ConnectFailed` or `TlsFailed`.
    """
    context = tls.get(policy.trust) if target.scheme == "https" else None
    tried = addresses[:_MAX_ATTEMPTS]
    why = "no address"
    for address in tried:
        try:
            async with asyncio.timeout(seconds / len(tried)):
                return await _attempt(target, address, context, idle)
        except ssl.SSLError as error:
            raise TlsFailed(f"TLS with {target.host} failed: {_tls_reason(error)}.") from error
        except TimeoutError:
            why = f"{address} did not answer"
        except OSError as error:
            why = f"{address} {_reason(error)}"
    raise ConnectFailed(f"No connection to {target.host} on port {target.port}: {why}.")


async def _attempt(target: Target, address: str, context: ssl.SSLContext | None, idle: float) -> Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: Connection(address, idle),
        address,
        target.port,
        ssl=context,
        server_hostname=target.host if context is not None else None,
    )
    return connection


def _reason(error: OSError) -> str:
    if error.errno:
        return f"says: {os.strerror(error.errno)}"
    return f"failed: {error}" if str(error) else "closed the connection at once"


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted ({error.verify_message})"
    return error.reason or "handshake error"
