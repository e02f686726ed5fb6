"""The keys over the API and the command line: who may do what, and what is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from callgate.errors import Refused
from tests.support.running import Running, running
from tests.support.shop import open_shop


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("keys")) as found, open_shop() as shop:
        found.add_upstream("shop", shop.url, auth={"mode": "shared", "secret": "hunter2"})
        yield found


def test_who_audits_sees_counts_and_no_key(run: Running) -> None:
    auditor, _ = run.person("auditor@acme.test", "auditor")
    found = auditor.get("/keys")
    assert found["wrapped_by"] == found["wraps_now"]
    assert found["wrapped_by"].startswith("file:")
    assert found["sealed"] == {found["seals"]: 1}
    key = (run.settings.key_path.read_text().splitlines()[-1]).partition(".")[2]
    assert key not in str(found)


@pytest.mark.parametrize("role", ["member", "reviewer", "auditor"])
def test_only_an_admin_rotates(run: Running, role: str) -> None:
    client, _ = run.person(f"{role}-only@acme.test", role)
    for path in ("/keys/rotate", "/keys/rewrap"):
        with pytest.raises(Refused) as caught:
            client.post(path)
        assert caught.value.code == "forbidden"


def test_an_admin_rotates_and_it_is_recorded(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callgate.keys.rotation.SETTLED_SECONDS", 0.0)
    admin, _ = run.person("admin@acme.test", "admin")
    before = admin.get("/keys")
    assert admin.post("/keys/rotate") == {"resealed": 1, "left": 0, "keys": 2}
    assert admin.post("/keys/rewrap") == {"count": 1, "by": before["wraps_now"]}
    assert admin.get("/keys")["seals"] != before["seals"]
    run.operator.post("/upstreams/shop/refresh")
    actions = [one["action"] for one in run.operator.get("/audit/events", limit=20)["items"] if "action" in one]
    assert {"keys.rotate", "keys.rewrap"} <= set(actions)
    assert all(one["ok"] for one in run.operator.get("/doctor")["checks"] if one["name"] == "keys")


def test_all_tenants_and_the_end_of_one_are_the_operators_alone(run: Running) -> None:
    admin, _ = run.person("admin@acme.test", "admin")
    for path, body in (("/keys/rewrap", {"everybody": True}), ("/keys/destroy", {"tenant": "default"})):
        with pytest.raises(Refused) as caught:
            admin.post(path, body)
        assert caught.value.code == "operator_only"
    with pytest.raises(Refused, match="must be default"):
        run.operator.post("/keys/destroy", {"tenant": "other"})
    assert run.operator.post("/keys/rewrap", {"everybody": True})["count"] == 1


def test_after_the_end_everything_else_can_still_be_governed(tmp_path: Path) -> None:
    with running(tmp_path / "end") as run, open_shop() as shop:
        run.add_upstream("shop", shop.url, auth={"mode": "shared", "secret": "hunter2"})
        assert run.operator.post("/keys/destroy", {"tenant": "default"}) == {"tenant": "default", "before": False}
        assert run.operator.post("/keys/destroy", {"tenant": "default"})["before"] is True
        with pytest.raises(Refused) as caught:
            run.operator.post("/upstreams", {
                "name": "more", "url": shop.url, "allow_private": True, "auth": {"mode": "shared", "secret": "x"}
            })  # fmt: skip
        assert caught.value.code == "keys_destroyed"
        run.add_upstream("plain", shop.url)
        run.operator.delete("/upstreams/shop")
        assert run.operator.get("/keys")["destroyed"]
        assert not run.operator.get("/doctor")["ok"]
    with running(tmp_path / "end") as again:
        assert [one["name"] for one in again.operator.get("/upstreams")["items"]] == ["plain"]
