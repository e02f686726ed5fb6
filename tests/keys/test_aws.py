"""AWS KMS (moto) wraps the keysets: a key that is rotated, replaced, disabled, away, and somebody else's."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from callgate.credentials.envelope import Envelope
from callgate.credentials.keyring import Lifetimes
from callgate.credentials.kms_aws import AwsKey
from callgate.credentials.wrapping import WrongKey
from callgate.errors import Refused
from callgate.keys.rotation import Rotation
from callgate.store import keysets
from callgate.store.engine import Database
from callgate.store.unit import Unit
from tests.support.aws import Aws, aws

OFTEN = Lifetimes(check=0.0, outage=3600.0)  # every use is a look


@pytest.fixture
def cloud() -> Iterator[Aws]:
    with aws() as found:
        yield found


def wrapping(*arns: str) -> list[AwsKey]:
    return [AwsKey(f"aws-kms://{arn}", arn) for arn in arns]


async def noted(_unit: Unit) -> None:
    return None


async def refusal(envelope: Envelope, sealed: bytes, tenant: str = "default") -> str:
    with pytest.raises(Refused) as caught:
        await envelope.open_sealed(tenant, "upstream", b"", sealed)
    return caught.value.code


async def test_what_is_wrapped_opens_for_its_tenant_alone(cloud: Aws) -> None:
    (key,) = wrapping(cloud.key())
    wrapped = await key.wrap("acme", b"keyset")
    assert b"keyset" not in wrapped
    assert await key.unwrap("acme", wrapped) == b"keyset"
    with pytest.raises(WrongKey):
        await key.unwrap("other", wrapped)


async def test_the_key_file_opens_nothing_of_it(cloud: Aws, db: Database, tmp_path: Path) -> None:
    arn = cloud.key()
    envelope = Envelope.open(tmp_path / "key", db, wrapping(arn))
    sealed = await envelope.seal("default", "upstream", b"", b"hunter2")
    async with db.unit("default", write=False) as unit:
        row = await keysets.get(unit)
    assert row is not None
    assert row.wrapped_by == f"aws-kms://{arn}"
    alone = Envelope.open(tmp_path / "key", db)
    with pytest.raises(Refused, match="not in the setting `kms`") as caught:
        await alone.open_sealed("default", "upstream", b"", sealed)
    assert caught.value.code == "bad_setting"


async def test_a_key_that_is_rotated_there_opens_old_and_new(cloud: Aws, db: Database, tmp_path: Path) -> None:
    arn = cloud.key()
    envelope = Envelope.open(tmp_path / "key", db, wrapping(arn), OFTEN)
    sealed = await envelope.seal("default", "upstream", b"", b"hunter2")
    cloud.kms.rotate_key_on_demand(KeyId=arn)
    assert await envelope.open_sealed("default", "upstream", b"", sealed) == b"hunter2"
    assert await Rotation(db, envelope).rewrap("default", noted)
    assert await envelope.open_sealed("default", "upstream", b"", sealed) == b"hunter2"


async def test_another_key_takes_over_while_replicas_run(cloud: Aws, db: Database, tmp_path: Path) -> None:
    """The new key comes first, the old one stays until every keyset is wrapped anew; then the old one can go."""
    old, new = cloud.key(), cloud.key()
    one = Envelope.open(tmp_path / "key", db, wrapping(old), OFTEN)
    sealed = await one.seal("default", "upstream", b"", b"hunter2")
    two = Envelope.open(tmp_path / "key", db, wrapping(new, old), OFTEN)
    assert await two.open_sealed("default", "upstream", b"", sealed) == b"hunter2"
    assert await one.open_sealed("default", "upstream", b"", sealed) == b"hunter2"
    assert await Rotation(db, two).rewrap("default", noted)
    status = await Rotation(db, two).status("default")
    assert (status.wrapped_by, status.wraps_now) == (f"aws-kms://{new}", f"aws-kms://{new}")
    three = Envelope.open(tmp_path / "key", db, wrapping(new))
    assert await three.open_sealed("default", "upstream", b"", sealed) == b"hunter2"
    assert await refusal(one, sealed) == "bad_setting"


async def test_from_the_key_file_to_the_service_and_back(cloud: Aws, db: Database, tmp_path: Path) -> None:
    plain = Envelope.open(tmp_path / "key", db)
    sealed = await plain.seal("default", "upstream", b"", b"hunter2")
    there = Envelope.open(tmp_path / "key", db, wrapping(cloud.key()))
    assert await there.open_sealed("default", "upstream", b"", sealed) == b"hunter2"
    await Rotation(db, there).rewrap("default", noted)
    assert (await Rotation(db, there).status("default")).wrapped_by.startswith("aws-kms://")


async def test_a_disabled_key_ends_it_at_the_next_look(cloud: Aws, db: Database, tmp_path: Path) -> None:
    arn = cloud.key()
    envelope = Envelope.open(tmp_path / "key", db, wrapping(arn), OFTEN)
    sealed = await envelope.seal("default", "upstream", b"", b"hunter2")
    cloud.disable(arn)
    assert await refusal(envelope, sealed) == "keys_refused"
    with pytest.raises(Refused, match="DisabledException"):
        await envelope.seal("default", "upstream", b"", b"x")
    fresh = Envelope.open(tmp_path / "key", db, wrapping(arn))
    assert await refusal(fresh, sealed) == "keys_refused", "nor does it open after a restart"
    cloud.enable(arn)
    assert await envelope.open_sealed("default", "upstream", b"", sealed) == b"hunter2"


async def test_a_service_that_is_away_is_survived_for_so_long(cloud: Aws, db: Database, tmp_path: Path) -> None:
    arn = cloud.key()
    patient = Envelope.open(tmp_path / "key", db, wrapping(arn), OFTEN)
    sealed = await patient.seal("default", "upstream", b"", b"hunter2")
    strict = Envelope.open(tmp_path / "key", db, wrapping(arn), Lifetimes(check=0.0, outage=0.0))
    assert await strict.open_sealed("default", "upstream", b"", sealed) == b"hunter2"
    cloud.away()
    try:
        assert await patient.open_sealed("default", "upstream", b"", sealed) == b"hunter2"
        assert await refusal(strict, sealed) == "keys_unavailable"
        assert await refusal(Envelope.open(tmp_path / "key", db, wrapping(arn)), sealed) == "keys_unavailable"
    finally:
        cloud.back()
    for envelope in (patient, strict):
        assert await envelope.open_sealed("default", "upstream", b"", sealed) == b"hunter2"


async def test_no_credentials_are_said_without_them(
    cloud: Aws, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = cloud.key()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(Refused, match="NoCredentialsError") as caught:
        await Envelope.open(tmp_path / "key", db, wrapping(arn)).unlock("default")
    assert caught.value.code == "keys_unavailable"


async def test_one_look_serves_all_who_wait(cloud: Aws, db: Database, tmp_path: Path) -> None:
    """A burst after a start asks the service once."""
    (key,) = wrapping(cloud.key())
    first = Envelope.open(tmp_path / "key", db, [key])
    sealed = await first.seal("default", "upstream", b"", b"hunter2")
    asked = 0

    class Counting(AwsKey):
        async def unwrap(self, tenant: str, wrapped: bytes) -> bytes:
            nonlocal asked
            asked += 1
            return await super().unwrap(tenant, wrapped)

    counting = Counting(key.name, key.name.removeprefix("aws-kms://"))
    envelope = Envelope.open(tmp_path / "key", db, [counting])
    opened = await asyncio.gather(*(envelope.open_sealed("default", "upstream", b"", sealed) for _ in range(200)))
    assert set(opened) == {b"hunter2"}
    assert asked == 1
