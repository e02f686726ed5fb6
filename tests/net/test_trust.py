"""TLS: the name is checked, the address is pinned, the context is made once. The authority is made here, for a day."""

import asyncio
import datetime as dt
import ssl
import warnings
from collections.abc import AsyncIterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from callgate import clock
from callgate.net.client import Client
from callgate.net.errors import ConnectFailed, TlsFailed
from callgate.net.policy import TargetPolicy
from callgate.net.pool import Pool
from callgate.net.resolve import Resolver
from callgate.net.trust import TlsContexts, Trust
from tests.net.support import Peer

NETWORKS = (ip_network("127.0.0.0/8"),)


class Authority:
    """A throwaway certificate authority in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throwaway")])
        builder = self._builder(self.name, self.key).add_extension(x509.BasicConstraints(True, 0), critical=True)
        builder = builder.add_extension(
            x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True
        ).add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        self.path = directory / "ca.pem"
        self.path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.fromtimestamp(clock.now(), dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    def server(self, *names: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = [x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names]
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = self._builder(subject, key).add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.add_extension(identifier, critical=False).sign(self.key, hashes.SHA256())
        path = self.directory / f"{names[0]}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def tls_peer(authority: Authority) -> AsyncIterator[Peer]:
    peer = Peer(tls=authority.server("mcp.example", "127.0.0.1"))
    await peer.start()
    yield peer
    await peer.stop()


@pytest.fixture
async def named(authority: Authority) -> AsyncIterator[Client]:
    async def lookup(host: str) -> list[str]:
        return ["127.0.0.1"]

    pool = Pool(Resolver(lookup))
    yield Client(pool)
    await pool.aclose()


def believing(authority: Authority) -> TargetPolicy:
    return TargetPolicy(allowed_networks=NETWORKS, trust=Trust(str(authority.path)))


async def test_a_name_that_the_certificate_has_is_reached_at_the_pinned_address(named, tls_peer, authority) -> None:
    for _ in range(3):
        url = tls_peer.url(scheme="https", host="mcp.example")
        async with await named.request("POST", url, body=b"{}", policy=believing(authority)) as response:
            assert await response.read(10) == b"ok"
    assert tls_peer.connections == 1


async def test_an_address_that_the_certificate_has_is_reached(named, tls_peer, authority) -> None:
    async with await named.request("GET", tls_peer.url(scheme="https"), policy=believing(authority)) as response:
        assert await response.read(10) == b"ok"


async def test_another_name_at_the_same_address_is_refused(named, tls_peer, authority) -> None:
    with pytest.raises(TlsFailed, match="certificate is not accepted") as caught:
        await named.request("GET", tls_peer.url(scheme="https", host="other.example"), policy=believing(authority))
    assert not caught.value.request_sent


async def test_an_unknown_authority_is_refused(named, tls_peer) -> None:
    policy = TargetPolicy(allowed_networks=NETWORKS)
    with pytest.raises(TlsFailed, match="certificate is not accepted"):
        await named.request("GET", tls_peer.url(scheme="https", host="mcp.example"), policy=policy)


async def test_a_server_without_tls_is_an_error_of_tls(named, peer, authority) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()

    peer.script = plain
    with pytest.raises(TlsFailed):
        await named.request("GET", peer.url(scheme="https", host="mcp.example"), policy=believing(authority))


@pytest.fixture
async def old_peer(authority: Authority) -> AsyncIterator[Peer]:
    context = authority.server("mcp.example")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    peer = Peer(tls=context)
    await peer.start()
    yield peer
    await peer.stop()


async def test_an_old_protocol_version_is_refused(named, old_peer, authority) -> None:
    with pytest.raises((TlsFailed, ConnectFailed)):
        await named.request("GET", old_peer.url(scheme="https", host="mcp.example"), policy=believing(authority))


def test_one_context_is_made_per_trust_setting(authority: Authority) -> None:
    contexts = TlsContexts()
    trust = Trust(str(authority.path))
    assert contexts.get(trust) is contexts.get(Trust(str(authority.path)))
    assert contexts.get(Trust()) is not contexts.get(trust)


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_certificate_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "bad.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TlsFailed, match=r"bad\.pem"):
        TlsContexts().get(Trust(str(path)))
