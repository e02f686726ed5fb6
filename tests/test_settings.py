"""Settings out of files and variables: lists in every spelling, and errors that name the culprit."""

from pathlib import Path

import pytest

from callgate.errors import Refused
from callgate.settings import Settings, load

NETWORKS = ("10.1.0.0/16", "fd00::/8")


@pytest.mark.parametrize(
    "text",
    ["10.1.0.0/16,fd00::/8", " 10.1.0.0/16 , fd00::/8, ", '["10.1.0.0/16", "fd00::/8"]', ' ["10.1.0.0/16","fd00::/8"]'],
)
def test_networks_in_a_variable_are_separated_by_commas_or_a_json_array(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLGATE_ALLOWED_NETWORKS", text)
    settings = load()
    assert settings.allowed_networks == NETWORKS
    assert tuple(map(str, settings.networks)) == NETWORKS


def test_every_list_may_be_written_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLGATE_ALLOWED_HOSTS", "one.test,two.test:8787")
    monkeypatch.setenv("CALLGATE_ALLOWED_ORIGINS", "https://one.test")
    settings = load()
    assert settings.allowed_hosts == ("one.test", "two.test:8787")
    assert settings.allowed_origins == ("https://one.test",)


def test_an_empty_list_opens_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("", ",", "[]"):
        monkeypatch.setenv("CALLGATE_ALLOWED_NETWORKS", text)
        assert load().networks == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("10.1.0.0/16,10.2.0.1/16", "10.2.0.1/16 has host bits set"),
        ("everything", "'everything' does not appear to be an IPv4 or IPv6 network"),
        ("10.1.0.0/33", "10.1.0.0/33"),
        ('["10.1.0.0/16"', "separated by commas"),
        ("[7]", "string"),
    ],
)
def test_a_bad_network_is_named_and_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLGATE_ALLOWED_NETWORKS", text)
    with pytest.raises(Refused) as caught:
        load()
    assert caught.value.code == "bad_setting"
    assert "allowed_networks" in caught.value.sentence
    assert named in caught.value.sentence


def test_a_file_takes_arrays_and_the_same_text(tmp_path: Path) -> None:
    file = tmp_path / "callgate.toml"
    for line in ('allowed_networks = ["10.1.0.0/16", "fd00::/8"]', 'allowed_networks = "10.1.0.0/16, fd00::/8"'):
        file.write_text(line)
        assert load(file=file).allowed_networks == NETWORKS
    assert Settings(allowed_networks=NETWORKS).allowed_networks == NETWORKS


KEYS = (
    "aws-kms://arn:aws:kms:eu-central-1:111122223333:key/0b3e1c0a-0000-4000-8000-000000000000",
    "aws-kms://arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/callgate",
    "gcp-kms://projects/acme/locations/europe/keyRings/ring/cryptoKeys/callgate",
    "hcvault://vault.acme.example:8200/transit/keys/callgate",
    "hcvault+http://127.0.0.1:8200/transit/keys/callgate",
)


def test_every_form_of_a_wrapping_key_is_taken(tmp_path: Path) -> None:
    assert Settings(kms=KEYS, vault_token_file=tmp_path / "token").kms == KEYS


@pytest.mark.parametrize(
    "key",
    [
        "arn:aws:kms:eu-central-1:111122223333:key/x",
        "aws-kms://alias/callgate",
        "gcp-kms://callgate",
        "hcvault+http://vault.acme.example:8200/transit/keys/callgate",
        "hcvault://user:word@vault.acme.example/transit/keys/callgate",
        "hcvault://vault.acme.example:8200/transit/callgate",
        "file:/etc/key",
    ],
)
def test_a_wrapping_key_of_no_known_form_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLGATE_KMS", key)
    monkeypatch.setenv("CALLGATE_VAULT_TOKEN_FILE", "token")
    with pytest.raises(Refused, match="no key of a key service"):
        load()


def test_vault_and_its_token_belong_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLGATE_KMS", KEYS[3])
    with pytest.raises(Refused, match="vault_token_file belong together"):
        load()
