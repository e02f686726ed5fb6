"""Vault and Google Cloud KMS (stand-ins that follow their documents): wrapping, versions, and each way to say no."""

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from callgate.credentials.envelope import Envelope
from callgate.credentials.keyring import Lifetimes
from callgate.credentials.kms import Outside, key_of
from callgate.credentials.kms_gcp import GoogleKey
from callgate.credentials.kms_vault import Transit
from callgate.credentials.wrapping import WrongKey
from callgate.errors import Refused
from callgate.keys.rotation import Rotation
from callgate.net.client import Client
from callgate.net.exchange import Limits
from callgate.net.pool import Pool
from callgate.store.engine import Database
from callgate.store.unit import Unit
from tests.support.key_services import Google, Vault, serving

SHORT = Limits(connect=1.0, first_byte=0.5, total=1.0, response_bytes=1024)
OFTEN = Lifetimes(check=0.0, outage=3600.0)


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    pool = Pool()
    yield Client(pool), (ipaddress.ip_network("127.0.0.0/8"),)
    await pool.aclose()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("hvs.first\n")
    path.chmod(0o600)
    return path


async def code(envelope: Envelope, sealed: bytes) -> str:
    with pytest.raises(Refused) as caught:
        await envelope.open_sealed("default", "p", b"", sealed)
    return caught.value.code


async def noted(_unit: Unit) -> None:
    return None


async def test_vault_wraps_for_one_tenant_and_keeps_its_versions(
    outside: Outside, token_file: Path, db: Database, tmp_path: Path
) -> None:
    vault = Vault()
    with serving(vault.answer) as base:
        uri = f"hcvault+{base}/transit/keys/callgate"
        key = key_of(uri, outside, token_file)
        assert isinstance(key, Transit)
        wrapped = await key.wrap("acme", b"keyset")
        assert wrapped.startswith(b"vault:v1:")
        assert await key.unwrap("acme", wrapped) == b"keyset"
        with pytest.raises(WrongKey):
            await key.unwrap("other", wrapped)
        envelope = Envelope.open(tmp_path / "key", db, [key], OFTEN)
        sealed = await envelope.seal("default", "p", b"", b"hunter2")
        vault.key.rotate()
        assert await envelope.open_sealed("default", "p", b"", sealed) == b"hunter2"
        assert await Rotation(db, envelope).rewrap("default", noted)
        vault.key.keys[0] = bytes(32)  # the old version is gone
        assert await envelope.open_sealed("default", "p", b"", sealed) == b"hunter2"


async def test_vaults_token_is_read_anew_and_its_answers_mean_something(
    outside: Outside, token_file: Path, db: Database, tmp_path: Path
) -> None:
    vault = Vault()
    with serving(vault.answer) as base:
        key = key_of(f"hcvault+{base}/transit/keys/callgate", outside, token_file)
        envelope = Envelope.open(tmp_path / "key", db, [key], OFTEN)
        sealed = await envelope.seal("default", "p", b"", b"hunter2")
        vault.token = "hvs.second"
        assert await code(envelope, sealed) == "keys_refused"
        _write(token_file, "hvs.second\n")
        assert await envelope.open_sealed("default", "p", b"", sealed) == b"hunter2"
        vault.sealed = True
        assert await envelope.open_sealed("default", "p", b"", sealed) == b"hunter2", "away, and survived"
        assert await code(Envelope.open(tmp_path / "key", db, [key]), sealed) == "keys_unavailable"
        vault.sealed, vault.forbidden = False, True
        assert await code(envelope, sealed) == "keys_refused"
        vault.forbidden = False
        assert await envelope.open_sealed("default", "p", b"", sealed) == b"hunter2"
        _write(token_file, "hvs.second\n", 0o644)
        with pytest.raises(Refused, match="chmod 600"):
            await key.wrap("default", b"x")
    assert await code(Envelope.open(tmp_path / "key", db, [key]), sealed) in ("keys_unavailable", "bad_setting")


async def test_google_wraps_with_tokens_of_a_service_account(
    outside: Outside, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    google = Google()
    with serving(google.answer) as base:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(_service_account(tmp_path, f"{base}/token")))
        key = GoogleKey(f"gcp-kms://{Google.NAME}", Google.NAME, outside, base)
        wrapped = await key.wrap("acme", b"keyset")
        assert await key.unwrap("acme", wrapped) == b"keyset"
        with pytest.raises(WrongKey):
            await key.unwrap("other", wrapped)
        assert google.tokens == 1, "a token is used for as long as it is good"
        envelope = Envelope.open(tmp_path / "key", db, [key], OFTEN)
        sealed = await envelope.seal("default", "p", b"", b"hunter2")
        google.key.rotate()
        assert await Rotation(db, envelope).rewrap("default", noted)
        google.key.keys[0] = bytes(32)
        assert await envelope.open_sealed("default", "p", b"", sealed) == b"hunter2"
        google.disabled = True
        assert await code(envelope, sealed) == "keys_refused"
        google.disabled = False
        assert await envelope.open_sealed("default", "p", b"", sealed) == b"hunter2"
    assert await envelope.open_sealed("default", "p", b"", sealed) == b"hunter2", "away, and survived"


async def test_google_without_credentials_says_so(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    key = key_of(f"gcp-kms://{Google.NAME}", outside, None)
    with pytest.raises(Refused, match="gave no token") as caught:
        await key.wrap("acme", b"keyset")
    assert caught.value.code == "keys_unavailable"


async def test_an_extra_that_is_not_installed_is_named(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "callgate.credentials.kms_aws", None)
    with pytest.raises(Refused, match=r"pip install 'callgate\[aws\]'"):
        key_of("aws-kms://arn:aws:kms:eu-central-1:1:key/x", outside, None)


async def test_a_slow_service_is_away(outside: Outside, token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts connections and says nothing."""
    monkeypatch.setattr("callgate.credentials.kms_service._LIMITS", SHORT)
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the other side hangs up
        writer.close()
        await writer.wait_closed()
        gone.set()

    async with asyncio.timeout(30), await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        key = key_of(f"hcvault+http://127.0.0.1:{port}/transit/keys/callgate", outside, token_file)
        with pytest.raises(Refused) as caught:
            await key.wrap("acme", b"keyset")
        assert caught.value.code == "keys_unavailable"
        await gone.wait()


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def _service_account(place: Path, token_uri: str) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    path = place / "account.json"
    account = {
        "type": "service_account", "project_id": "acme", "private_key_id": "1", "private_key": pem,
        "client_email": "callgate@acme.test", "client_id": "1", "token_uri": token_uri,
    }  # fmt: skip
    path.write_text(json.dumps(account))
    return path
