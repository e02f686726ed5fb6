"""Users over SCIM: people with all that the identity provider wrote of them, found, changed, let out and in."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.scim.client import ENTERPRISE, USER, Scim, open_scim, refused
from tests.support.refusals import refused as refused_there
from tests.support.running import Running

WRITTEN = {
    "externalId": "00u1",
    "name": {"givenName": "Ana", "familyName": "Ruiz", "formatted": "Ana Ruiz"},
    "displayName": "Ana Ruiz",
    "emails": [{"value": "ana@acme.test", "type": "work", "primary": True}, {"value": "a@home.test", "type": "home"}],
    "phoneNumbers": [{"value": "+49 30 1", "type": "mobile"}],
    "addresses": [{"locality": "Berlin", "country": "DE", "type": "work"}],
    "title": "Engineer",
    "locale": "de-DE",
    "roles": [{"value": "admin", "primary": True}],
    "entitlements": [{"value": "vpn"}],
    "schemas": [USER, ENTERPRISE],
    ENTERPRISE: {"department": "R&D", "employeeNumber": "7", "manager": {"value": "per_unknown"}},
}


def person(gateway: Running, email: str) -> Any:
    return gateway.operator.get(f"/people/{email}")


def actions(gateway: Running, subject: str) -> list[str]:
    events = gateway.operator.get("/audit/events", limit=500)["items"]
    return [one["action"] for one in events if one.get("subject") == subject]


def test_what_was_written_is_read_back_and_a_person_is_there(each_gateway: Running) -> None:
    with open_scim(each_gateway) as scim:
        made = scim.post("/Users", {"userName": "Ana@Acme.test", "active": True, "password": "s3cret", **WRITTEN})
        assert made.status == 201
        assert (
            made.headers["location"] == made.json["meta"]["location"] == f"{scim.url}/scim/v2/Users/{made.json['id']}"
        )
        assert made.headers["etag"] == made.json["meta"]["version"]
        got = scim.get(f"/Users/{made.json['id']}")
        assert got.json == made.json
        assert {name: got.json[name] for name in WRITTEN} == WRITTEN
        assert got.json["userName"] == "Ana@Acme.test"
    found = person(each_gateway, "ana@acme.test")
    assert (found["id"], found["roles"], found["teams"], found["active"]) == (made.json["id"], ["member"], [], True)
    assert "password" not in made.json
    assert actions(each_gateway, found["id"]) == ["people.add"]


def test_a_password_is_kept_nowhere(gateway: Running, scim: Scim) -> None:
    made = scim.user("pw@acme.test", password="correct horse battery")
    scim.patch(f"/Users/{made['id']}", {"op": "replace", "path": "password", "value": "correct horse battery"})
    scim.put(
        f"/Users/{made['id']}", {"schemas": [USER], "userName": "pw@acme.test", "password": "correct horse battery"}
    )
    for file in gateway.settings.data_dir.rglob("*"):
        if file.is_file():
            assert b"correct horse battery" not in file.read_bytes(), file


def test_whoever_was_added_by_hand_is_a_user_too_and_is_not_added_again(gateway: Running, scim: Scim) -> None:
    gateway.operator.post("/people", {"email": "hand@acme.test", "roles": ["reviewer"], "teams": ["sre"]})
    (found,) = scim.found("/Users", 'userName eq "HAND@acme.test"')
    assert found["emails"] == [{"value": "hand@acme.test", "primary": True}]
    assert found["active"] is True
    refused(scim.post("/Users", {"schemas": [USER], "userName": "Hand@acme.test"}), 409, "uniqueness")
    said = scim.put(f"/Users/{found['id']}", {"schemas": [USER], "userName": "hand@acme.test", "displayName": "Hand"})
    assert said.json["displayName"] == "Hand"
    after = person(gateway, "hand@acme.test")
    assert (after["roles"], after["teams"], after["active"]) == (["reviewer"], ["sre"], True)


def test_a_user_name_that_is_no_address_needs_a_primary_one(gateway: Running, scim: Scim) -> None:
    refused(scim.post("/Users", {"schemas": [USER], "userName": "bob"}), 400, "invalidValue", "e-mail")
    two = [{"value": "bob@acme.test"}, {"value": "b@acme.test"}]
    refused(scim.post("/Users", {"schemas": [USER], "userName": "bob", "emails": two}), 400, "invalidValue")
    made = scim.user("bob", emails=[{"value": "Bob@acme.test", "primary": True}, {"value": "b@acme.test"}])
    assert person(gateway, "bob@acme.test")["id"] == made["id"]
    assert [one["id"] for one in scim.found("/Users", 'userName eq "BOB"')] == [made["id"]]
    taken = {"schemas": [USER], "userName": "BOB", "emails": [{"value": "other@acme.test"}]}
    refused(scim.post("/Users", taken), 409, "uniqueness")
    refused(scim.post("/Users", {"schemas": [USER], "userName": "bob@acme.test"}), 409, "uniqueness")
    refused(scim.patch(f"/Users/{made['id']}", {"op": "remove", "path": "emails"}), 400, "invalidValue", "e-mail")


def test_a_new_address_moves_the_person_along(gateway: Running, scim: Scim) -> None:
    made = scim.user("maiden@acme.test")
    scim.user("taken@acme.test")
    path = f"/Users/{made['id']}"
    refused(scim.patch(path, {"op": "replace", "path": "userName", "value": "Taken@acme.test"}), 409, "uniqueness")
    assert scim.patch(path, {"op": "replace", "path": "userName", "value": "married@acme.test"}).status in (200, 204)
    assert person(gateway, "married@acme.test")["id"] == made["id"]
    assert scim.get(path).json["emails"] == [{"value": "married@acme.test", "primary": True}]
    assert scim.found("/Users", 'userName eq "maiden@acme.test"') == []
    assert scim.user("maiden@acme.test")["id"] != made["id"]


def test_entra_lets_out_with_a_word_and_okta_with_an_object(gateway: Running, scim: Scim) -> None:
    made = scim.user("leaver@acme.test")
    path = f"/Users/{made['id']}"
    ways: list[tuple[Any, Any]] = [
        ({"op": "Replace", "path": "active", "value": "False"}, {"op": "Replace", "path": "active", "value": "True"}),
        ({"op": "replace", "value": {"active": False}}, {"op": "replace", "value": {"active": True}}),
    ]
    for out, back in ways:
        client, _ = gateway.person("leaver@acme.test")
        assert client.get("/whoami")["kind"] == "person"
        assert scim.patch(path, out).status in (200, 204)
        assert scim.get(path).json["active"] is False
        with refused_there("invalid_token"):
            client.get("/whoami")
        assert scim.patch(path, back).status in (200, 204)
        assert scim.get(path).json["active"] is True
        with refused_there("invalid_token"):
            client.get("/whoami")
    assert actions(gateway, made["id"]) == ["people.add", *["people.deactivate", "people.reactivate"] * 2]


def test_a_put_that_does_not_say_active_lets_nobody_in(gateway: Running, scim: Scim) -> None:
    made = scim.user("out@acme.test", active=False)
    assert made["active"] is False
    said = scim.put(f"/Users/{made['id']}", {"schemas": [USER], "userName": "out@acme.test", "title": "x"})
    assert (said.json["active"], said.json["title"]) == (False, "x")
    assert person(gateway, "out@acme.test")["active"] is False


def test_deleting_lets_out_for_good_and_the_person_stays(each_gateway: Running) -> None:
    with open_scim(each_gateway) as scim:
        made = scim.user("gone@acme.test", externalId="x1", displayName="Gone")
        group = scim.group("Crew", made["id"])
        each_gateway.operator.patch("/people/gone@acme.test", {"roles": ["admin"]})
        client, _ = each_gateway.person("gone@acme.test")
        said = scim.delete(f"/Users/{made['id']}")
        assert (said.status, said.json) == (204, None)
        with refused_there("invalid_token"):
            client.get("/whoami")
        for answer in (
            scim.get(f"/Users/{made['id']}"),
            scim.delete(f"/Users/{made['id']}"),
            scim.patch(f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": True}),
        ):
            refused(answer, 404)
        assert scim.found("/Users", 'externalId eq "x1"') == []
        assert "members" not in scim.get(f"/Groups/{group['id']}").json
        after = person(each_gateway, "gone@acme.test")
        assert (after["id"], after["active"], after["teams"]) == (made["id"], False, [])
        assert actions(each_gateway, made["id"])[-1] == "people.remove"


def test_whoever_was_deleted_comes_back_as_a_plain_member(gateway: Running, scim: Scim) -> None:
    made = scim.user("back@acme.test", displayName="Old")
    gateway.operator.patch("/people/back@acme.test", {"roles": ["admin"], "teams": ["sre"]})
    client, _ = gateway.person("back@acme.test")
    scim.delete(f"/Users/{made['id']}")
    again = scim.user("back@acme.test")
    assert again["id"] == made["id"]
    assert "displayName" not in again
    after = person(gateway, "back@acme.test")
    assert (after["roles"], after["teams"], after["active"]) == (["member"], [], True)
    with refused_there("invalid_token"):
        client.get("/whoami")


def test_whoever_an_admin_lets_in_again_is_a_user_again(gateway: Running, scim: Scim) -> None:
    made = scim.user("recalled@acme.test")
    scim.delete(f"/Users/{made['id']}")
    gateway.operator.post("/people/recalled@acme.test/reactivate")
    assert scim.get(f"/Users/{made['id']}").json["userName"] == "recalled@acme.test"
    refused(scim.post("/Users", {"schemas": [USER], "userName": "recalled@acme.test"}), 409, "uniqueness")


def test_a_deactivated_user_is_not_added_again(scim: Scim) -> None:
    scim.user("off@acme.test", active=False)
    refused(scim.post("/Users", {"schemas": [USER], "userName": "off@acme.test"}), 409, "uniqueness")


def test_the_last_active_admin_stays(gateway: Running, scim: Scim) -> None:
    (idp,) = scim.found("/Users", 'userName eq "idp@acme.test"')
    path = f"/Users/{idp['id']}"
    for said in (scim.delete(path), scim.patch(path, {"op": "Replace", "path": "active", "value": "False"})):
        refused(said, 409, None, "last active admin")
    assert person(gateway, "idp@acme.test")["active"] is True
    gateway.operator.post("/people", {"email": "second@acme.test", "roles": ["admin"]})
    second = scim.found("/Users", 'userName eq "second@acme.test"')[0]["id"]
    assert scim.delete(f"/Users/{second}").status == 204
    refused(scim.delete(path), 409)


def test_one_of_many_at_once_gets_a_user_name(each_gateway: Running) -> None:
    with open_scim(each_gateway) as scim:
        body = json.dumps({"schemas": [USER], "userName": "race@acme.test"}).encode()

        def create(_: int) -> int:
            with Scim.at(scim.url, scim.token) as other:
                return other.send("POST", "/Users", body).status

        with ThreadPoolExecutor(6) as pool:
            assert sorted(pool.map(create, range(6))) == [201, *[409] * 5]
        assert len(scim.found("/Users", 'userName eq "race@acme.test"')) == 1


def test_what_entra_sends_of_a_manager_and_of_values_that_are_not_there_yet(scim: Scim) -> None:
    made = scim.user("entra@acme.test")
    path = f"/Users/{made['id']}"
    said = scim.patch(
        path,
        {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "per_boss"},
        {"op": "Add", "path": 'emails[type eq "work"].value', "value": "work@corp.local"},
        {"op": "Replace", "path": "name.givenName", "value": "En"},
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "IT"},
    )
    assert said.status in (200, 204), said
    got = scim.get(path).json
    assert got[ENTERPRISE] == {"manager": {"value": "per_boss"}, "department": "IT"}
    assert {"value": "work@corp.local", "type": "work"} in got["emails"]
    assert got["name"] == {"givenName": "En"}
    assert scim.patch(path, {"op": "Replace", "path": f"{ENTERPRISE}:manager", "value": ""}).status in (200, 204)
    assert scim.get(path).json[ENTERPRISE] == {"department": "IT"}


def test_attributes_that_no_schema_has_are_passed_over(scim: Scim) -> None:
    made = scim.user("odd@acme.test", favouriteColour="red", displayName="Odd")
    assert "favouriteColour" not in made
    assert made["displayName"] == "Odd"
    assert scim.patch(f"/Users/{made['id']}", {"op": "add", "path": "favouriteColour", "value": "x"}).status in (
        200,
        204,
    )
    refused(scim.patch(f"/Users/{made['id']}", {"op": "replace", "path": "id", "value": "x"}), 400, "mutability")
    refused(scim.patch(f"/Users/{made['id']}", {"op": "explode"}), 400)
    refused(scim.patch(f"/Users/{made['id']}", {"op": "replace", "path": "emails[", "value": 1}), 400, "invalidPath")


def test_a_user_has_bounds(scim: Scim) -> None:
    refused(scim.post("/Users", {"schemas": [USER], "userName": "x" * 300}), 400, "invalidValue")
    refused(scim.post("/Users", {"schemas": [USER], "userName": "a\x00@acme.test"}), 400, "invalidValue")
    refused(scim.post("/Users", {"schemas": [USER], "userName": ""}), 400)
    large = {"schemas": [USER], "userName": "l@acme.test", "displayName": "x" * 300_000}
    refused(scim.post("/Users", large), 400, "invalidValue", "larger")
    nul = scim.user("nul@acme.test", displayName="a\x00b", title="😀")
    assert (nul["displayName"], nul["title"]) == ("a\x00b", "😀")
