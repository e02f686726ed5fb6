"""The receipt as a page: for those who audit, with everything that the signed document has."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from tests.support.robot import Robot
from tests.support.running import Running, running
from tests.support.shop import open_shop
from tests.support.signing_in import account


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, dict[str, Any]]]:
    with running(tmp_path_factory.mktemp("receipts"), client_documents="off") as run, open_shop() as shop:
        run.add_upstream("shop", shop.url, auth={"mode": "own_token"})
        account(run, "ben@acme.test")
        run.operator.put("/connections/shop/token", {"token": "own"}, person="ben@acme.test")
        run.operator.post("/agents", {"name": "nightly", "owner": "ben@acme.test"})
        yield run, run.operator.post("/people/ben@acme.test/deactivate")


def test_who_audits_reads_it(lab: tuple[Running, dict[str, Any]]) -> None:
    run, left = lab
    robot = account(run, "auditor@acme.test", "auditor")
    page = robot.get("/offboardings")
    assert "ben@acme.test" in page.words
    page = robot.get(f"/offboardings/{left['receipt']}")
    assert page.status == 200
    for words in ("ben@acme.test left", "operator:", "by hand", "nightly: stopped", "Local account removed"):
        assert words in page.words, words
    assert "the person made this token there" in page.words
    assert page.headers["Cache-Control"] == "no-store"


def test_the_file_holds_the_signed_receipt(lab: tuple[Running, dict[str, Any]]) -> None:
    run, left = lab
    robot = account(run, "keeper@acme.test", "auditor")
    page = robot.get(f"/offboardings/{left['receipt']}/receipt.json")
    assert page.headers["Content-Disposition"].startswith("attachment")
    keys = KeySet.import_key_set(Robot(run.url).get("/oauth/jwks").json)
    signed = jws.deserialize_compact(page.json["signature"], keys, algorithms=["Ed25519", "EdDSA"])
    assert json.loads(signed.payload)["id"] == page.json["receipt"]["id"] == left["receipt"]


@pytest.mark.parametrize("role", ["member", "reviewer"])
def test_nobody_else_does(lab: tuple[Running, dict[str, Any]], role: str) -> None:
    run, left = lab
    robot = account(run, f"{role}@acme.test", role)
    for path in ("/offboardings", f"/offboardings/{left['receipt']}", f"/offboardings/{left['receipt']}/receipt.json"):
        page = robot.get(path)
        assert page.status == 403
        assert "ben@acme.test" not in page.text
    page = Robot(run.url).get(f"/offboardings/{left['receipt']}")
    assert page.url.split("?")[0].endswith("/signin")


def test_an_unknown_receipt_is_said_to_be_so(lab: tuple[Running, dict[str, Any]]) -> None:
    run, _ = lab
    robot = account(run, "other@acme.test", "auditor")
    assert robot.get("/offboardings/off_unknown").status == 404
