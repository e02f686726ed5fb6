"""Groups over SCIM: who is in one gets its team, in the same transaction; what was given by hand stays."""

from typing import Any

from tests.scim.client import GROUP, USER, Scim, open_scim, patch_body, refused
from tests.support.running import Running


def teams(gateway: Running, email: str) -> list[str]:
    return list(gateway.operator.get(f"/people/{email}")["teams"])


def ids_in(group: Any) -> set[str]:
    return {one["value"] for one in group.get("members", [])}


def test_members_get_the_team_and_lose_it_and_keep_what_was_given_by_hand(each_gateway: Running) -> None:
    gateway = each_gateway
    with open_scim(gateway) as scim:
        ana, bo = scim.user("ana@acme.test")["id"], scim.user("bo@acme.test")["id"]
        gateway.operator.patch("/people/bo@acme.test", {"teams": ["platform-crew", "hand"]})
        group = scim.group("Platform Crew", ana, externalId="g1")
        path = f"/Groups/{group['id']}"
        assert group["members"] == [{"value": ana, "$ref": f"{scim.url}/scim/v2/Users/{ana}", "type": "User"}]
        assert teams(gateway, "ana@acme.test") == ["platform-crew"]
        assert scim.patch(path, {"op": "Add", "path": "members", "value": [{"value": bo}]}).status in (200, 204)
        assert ids_in(scim.get(path).json) == {ana, bo}
        assert scim.get(f"/Users/{bo}").json["groups"] == [
            {"value": group["id"], "$ref": f"{scim.url}/scim/v2{path}", "display": "Platform Crew", "type": "direct"}
        ]
        assert scim.delete(path).status == 204
        refused(scim.get(path), 404)
        assert teams(gateway, "ana@acme.test") == []
        assert teams(gateway, "bo@acme.test") == ["hand", "platform-crew"]


def test_every_way_to_take_somebody_out(scim: Scim) -> None:
    people = [scim.user(f"p{number}@acme.test")["id"] for number in range(5)]
    group = scim.group("Crew", *people)
    path = f"/Groups/{group['id']}"
    ways: list[Any] = [
        {"op": "Remove", "path": "members", "value": [{"value": people[0]}]},  # Entra
        {"op": "remove", "path": f'members[value eq "{people[1]}"]'},  # Okta
        {"op": "Remove", "path": "members", "value": [{"value": people[2], "$ref": None}]},
    ]
    for number, way in enumerate(ways, 1):
        assert scim.patch(path, way).status in (200, 204)
        assert ids_in(scim.get(path).json) == set(people[number:])
    said = scim.patch(path, {"op": "replace", "path": "members", "value": [{"value": people[0]}]})
    assert said.status in (200, 204)
    assert ids_in(scim.get(path).json) == {people[0]}
    assert scim.patch(path, {"op": "remove", "path": "members"}).status in (200, 204)
    assert "members" not in scim.get(path).json
    assert scim.patch(path, {"op": "add", "value": {"members": [{"value": people[4]}]}}).status in (200, 204)
    assert ids_in(scim.get(path).json) == {people[4]}


def test_a_new_name_is_a_new_team_for_all_members(gateway: Running, scim: Scim) -> None:
    ana = scim.user("ana@acme.test")["id"]
    group = scim.group("Old name", ana)
    path = f"/Groups/{group['id']}"
    okta = {"op": "replace", "value": {"id": group["id"], "displayName": "New name"}}
    assert scim.patch(path, okta).status in (200, 204)
    assert teams(gateway, "ana@acme.test") == ["new-name"]
    other = {"op": "replace", "value": {"id": "grp_other", "displayName": "x"}}
    refused(scim.patch(path, other), 400, "mutability")
    said = scim.put(path, {"schemas": [GROUP], "displayName": "Newest", "members": [{"value": ana, "display": "A"}]})
    assert said.json["members"][0]["display"] == "A"
    assert teams(gateway, "ana@acme.test") == ["newest"]


def test_two_groups_never_give_one_team(scim: Scim) -> None:
    scim.group("Dev Ops")
    refused(scim.post("/Groups", {"schemas": [GROUP], "displayName": "dev-ops"}), 409, "uniqueness", "`dev-ops`")
    other = scim.group("Other")
    said = scim.patch(f"/Groups/{other['id']}", {"op": "replace", "path": "displayName", "value": "DEV OPS"})
    refused(said, 409, "uniqueness")
    names = ["A" * 40 + "1", "A" * 40 + "2", "Größe", "Grosse", "日本", "!!!"]
    assert len({scim.group(name)["id"] for name in names}) == len(names)


def test_members_are_users_of_this_tenant(scim: Scim) -> None:
    group = scim.group("Crew")
    for value in ("per_" + "0" * 26, "nobody", "x\x00", group["id"]):
        said = scim.patch(f"/Groups/{group['id']}", {"op": "add", "path": "members", "value": [{"value": value}]})
        refused(said, 400, "invalidValue")
    nested = {"value": group["id"], "type": "Group"}
    refused(
        scim.post("/Groups", {"schemas": [GROUP], "displayName": "n", "members": [nested]}),
        400,
        "invalidValue",
        "Groups in",
    )
    refused(scim.post("/Groups", {"schemas": [GROUP], "displayName": "n", "members": [{"display": "x"}]}), 400)


def test_an_inactive_member_keeps_the_team(gateway: Running, scim: Scim) -> None:
    ana = scim.user("ana@acme.test")["id"]
    scim.group("Crew", ana)
    for active in (False, True):
        scim.patch(f"/Users/{ana}", {"op": "replace", "path": "active", "value": active})
        assert teams(gateway, "ana@acme.test") == ["crew"]


def test_members_can_be_left_out_and_looked_for(scim: Scim) -> None:
    ana = scim.user("ana@acme.test")["id"]
    group = scim.group("Crew", ana)
    scim.group("Empty")
    assert "members" not in scim.get(f"/Groups/{group['id']}", excludedAttributes="members").json
    assert "members" not in scim.found("/Groups", 'displayName eq "crew"', excludedAttributes="members")[0]
    assert "members" not in scim.get(f"/Groups/{group['id']}", attributes="displayName").json
    found = scim.found("/Groups", f'id eq "{group["id"]}" and members eq "{ana}"', excludedAttributes="members")
    assert [one["id"] for one in found] == [group["id"]]
    assert [one["id"] for one in scim.found("/Groups", f'members.value eq "{ana}"')] == [group["id"]]
    assert scim.found("/Groups", 'members.value eq "nobody"') == []


def test_a_change_of_members_is_one_transaction_with_its_records(gateway: Running, scim: Scim) -> None:
    ana = scim.user("ana@acme.test")["id"]
    group = scim.group("Crew", ana)
    bad = [{"op": "remove", "path": "members"}, {"op": "add", "path": "members", "value": [{"value": "nobody"}]}]
    refused(scim.patch(f"/Groups/{group['id']}", *bad), 400, "invalidValue")
    assert teams(gateway, "ana@acme.test") == ["crew"]
    events = gateway.operator.get("/audit/events", limit=500)["items"]
    seen = [(one["action"], one["subject"]) for one in events if one["subject"] in (ana, group["id"])]
    assert seen == [("people.add", ana), ("groups.add", group["id"]), ("people.change", ana)]


def test_many_leave_and_come_in_one_request(scim: Scim) -> None:
    people = [scim.user(f"p{number}@acme.test")["id"] for number in range(8)]
    path = f"/Groups/{scim.group('Crew', *people[:6])['id']}"
    okta = [{"op": "remove", "path": f'members[value eq "{one}"]'} for one in people[:4]]
    back = [{"op": "add", "path": "members", "value": [{"value": one}]} for one in people[3:8]]
    last = {"op": "Remove", "path": "members", "value": [{"value": people[7]}, {"value": "nobody"}]}
    assert scim.patch(path, *okta, *back, last).status in (200, 204)
    assert ids_in(scim.get(path).json) == set(people[3:7])
    version = scim.get(path).headers["etag"]
    assert scim.patch(path, last).status in (200, 204)  # says nothing new
    assert scim.get(path).headers["etag"] == version
    refused(scim.patch(path, okta[0], If_Match='W/"x"'), 412)
    said = scim.send("PATCH", f"{path}?attributes=displayName,members", patch_body(last | {"op": "remove"}))
    assert said.status == 200
    assert ids_in(said.json) == set(people[3:7])


def test_a_large_group_is_written_at_once(gateway: Running, scim: Scim) -> None:
    people = [scim.user(f"many{number}@acme.test")["id"] for number in range(60)]
    group = scim.group("Many", *people)
    assert ids_in(scim.get(f"/Groups/{group['id']}").json) == set(people)
    said = scim.put(f"/Groups/{group['id']}", {"schemas": [GROUP], "displayName": "Many", "members": []})
    assert said.status == 200
    assert teams(gateway, "many7@acme.test") == []


def test_a_user_can_not_write_the_groups_they_are_in(scim: Scim) -> None:
    group = scim.group("Crew")
    made = scim.post("/Users", {"schemas": [USER], "userName": "ana@acme.test", "groups": [{"value": group["id"]}]})
    assert made.status == 201
    assert "groups" not in made.json
