"""Which certificates are believed, and the TLS contexts made from that.

A context is made once per trust setting: loading the system's certificates costs about 20 ms. Fail closed: a
certificate file that cannot be read refuses every connection that asks for it; there is no way to turn checks off.
"""

import ssl
from dataclasses import dataclass

from callgate.net.errors import TlsFailed


@dataclass(frozen=True, slots=True)
class Trust:
    """`ca_file`: path of a PEM file of authorities to believe instead of the system's. None = the system's."""

    ca_file: str | None = None


SYSTEM_TRUST = Trust()


class TlsContexts:
    """One `ssl.SSLContext` per `Trust`: host names checked, TLS 1.2 or newer, HTTP/1.1 only."""

    def __init__(self) -> None:
        self._contexts: dict[Trust, ssl.SSLContext] = {}

    def get(self, trust: Trust) -> ssl.SSLContext:
        """The context of this setting. Raises `TlsFailed` when its file cannot be used."""
        context = self._contexts.get(trust)
        if context is None:
            context = self._contexts[trust] = _make(trust)
        return context


def _make(trust: Trust) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=trust.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise TlsFailed(f"The certificate file {trust.ca_file} cannot be used: {error}.") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
