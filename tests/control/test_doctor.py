"""The doctor's checks, and which replicas run."""

from pathlib import Path

from callgate.control.doctor import data_dir, key_file
from tests.support.running import Running
from tests.support.shop import Shop


def by_name(gateway: Running) -> dict[str, tuple[bool, str]]:
    report = gateway.operator.get("/doctor")
    assert report["url"] == gateway.url
    return {one["name"]: (one["ok"], one["detail"]) for one in report["checks"]}


def test_each_check_says_what_to_do(gateway: Running, shop: Shop) -> None:
    found = by_name(gateway)
    assert found["store"][0]
    assert found["audit"][0]
    assert found["people"] == (False, "Nobody can call; add a person: callgate people add EMAIL")
    assert "callgate upstreams add" in found["upstreams"][1]
    gateway.operator.post("/people", {"email": "ana@acme.test"})
    gateway.add_upstream("shop", shop.url)
    found = by_name(gateway)
    assert found["people"][0]
    assert found["upstream shop"][0]
    assert found["tools"] == (False, "No trusted tool, 5 wait for review; see: callgate tools list")
    full = gateway.operator.get("/tools/shop__list_orders")["full"]
    gateway.operator.post("/tools/shop__list_orders/approve", {"full": full})
    assert gateway.operator.get("/doctor")["ok"] is True
    shop.away = True
    gateway.operator.post("/upstreams/shop/refresh")
    assert by_name(gateway)["upstream shop"][0] is False
    gateway.operator.patch("/upstreams/shop", {"enabled": False})
    assert "upstream shop" not in by_name(gateway)


def test_files_that_others_can_read_are_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("x")
    path.chmod(0o640)
    assert key_file(path).detail == f"Others can read {path}; run: chmod 600 {path}"
    path.chmod(0o600)
    assert key_file(path).ok
    assert not data_dir(tmp_path / "missing").ok


def test_this_replica_is_shown_with_the_newest_revisions(gateway: Running) -> None:
    gateway.operator.post("/agents", {"name": "seen"})
    shown = gateway.operator.get("/replicas")
    [own] = shown["items"]
    assert own["current"] is True
    assert own["revisions"] == shown["revisions"]
    assert own["info"]["role"] == "all"
