"""Secrets of upstreams: opened for their own upstream, one query at most, nothing without them."""

from pathlib import Path

import msgspec
import pytest

from callgate.credentials.envelope import Envelope
from callgate.credentials.secrets import PURPOSE, Secrets, binding
from callgate.errors import Refused
from callgate.model.upstream import Upstream
from callgate.store import secrets
from callgate.store.engine import Database

WEB = Upstream(id="ups_1", tenant="default", name="web", kind="http", auth_mode="shared", secret_id="sec_1")


async def _sealed(db: Database, path: Path, plain: bytes) -> Envelope:
    envelope = Envelope.open(path / "key", db)
    sealed = await envelope.seal("default", PURPOSE, binding("ups_1"), plain)
    async with db.unit("default") as unit:
        await secrets.put(unit, "sec_1", PURPOSE, sealed)
    return envelope


async def test_a_shared_secret_becomes_a_header_and_is_fetched_once(db: Database, tmp_path: Path) -> None:
    envelope = await _sealed(db, tmp_path, b"hunter2")
    known = Secrets(db, envelope, lambda _tenant, _upstream: WEB)
    assert await known.open("default", "ups_1") == ("Authorization", "Bearer hunter2")
    async with db.unit("default") as unit:
        await secrets.remove(unit, "sec_1")
    assert await known.open("default", "ups_1") == ("Authorization", "Bearer hunter2")
    assert b"hunter2" not in repr(vars(known)).encode()


async def test_the_scheme_may_be_empty_and_mode_none_needs_nothing(db: Database, tmp_path: Path) -> None:
    envelope = await _sealed(db, tmp_path, b"hunter2")
    plain = msgspec.structs.replace(WEB, auth_header="X-Key", auth_scheme="")
    assert await Secrets(db, envelope, lambda *_: plain).open("default", "ups_1") == ("X-Key", "hunter2")
    none = msgspec.structs.replace(WEB, auth_mode="none")
    assert await Secrets(db, envelope, lambda *_: none).open("default", "ups_1") is None
    assert await Secrets(db, envelope, lambda *_: None).open("default", "ups_1") is None


async def test_a_missing_or_foreign_secret_stops_the_call(db: Database, tmp_path: Path) -> None:
    envelope = await _sealed(db, tmp_path, b"hunter2")
    for upstream in (
        msgspec.structs.replace(WEB, secret_id="sec_9"),
        msgspec.structs.replace(WEB, secret_id=None),
        msgspec.structs.replace(WEB, id="ups_2"),
    ):
        with pytest.raises(Refused) as caught:
            await Secrets(db, envelope, lambda *_, found=upstream: found).open("default", upstream.id)
        assert caught.value.code == "upstream_unavailable"


async def test_a_program_gets_its_sealed_variables(db: Database, tmp_path: Path) -> None:
    envelope = await _sealed(db, tmp_path, b'{"TOKEN":"hunter2"}')
    known = Secrets(db, envelope, lambda *_: None)
    program = msgspec.structs.replace(WEB, kind="stdio", auth_mode="none")
    assert await known.variables(program) == {"TOKEN": "hunter2"}
    assert await known.variables(WEB) == {}
    assert await known.variables(msgspec.structs.replace(program, secret_id=None)) == {}
