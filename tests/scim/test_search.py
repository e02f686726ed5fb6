"""Finding users and groups: pages, filters, order, versions."""

from tests.scim.client import USER, Scim, open_scim, refused
from tests.support.running import Running


def test_pages_hold_everybody_once(each_gateway: Running) -> None:
    with open_scim(each_gateway) as scim:
        made = {scim.user(f"p{number}@acme.test")["id"] for number in range(7)}
        seen: list[str] = []
        start = 1
        while True:
            page = scim.get("/Users", startIndex=start, count=3).json
            assert page["totalResults"] == 8
            assert page["startIndex"] == start
            if not page.get("Resources"):
                break
            assert page["itemsPerPage"] == len(page["Resources"]) <= 3
            seen += [one["id"] for one in page["Resources"]]
            start += 3
        assert len(seen) == len(set(seen)) == 8
        assert made <= set(seen)
        assert scim.get("/Users", count=0).json["totalResults"] == 8
        assert scim.get("/Users", count=-5, startIndex=-1).json["totalResults"] == 8


def test_a_page_has_at_most_200(scim: Scim) -> None:
    config = scim.get("/ServiceProviderConfig").json
    assert config["filter"] == {"supported": True, "maxResults": 200}
    for number in range(205):
        scim.user(f"p{number}@acme.test")
    for query in ({}, {"count": 5000}, {"count": 1000, "sortBy": "userName"}):
        page = scim.get("/Users", **query).json
        assert (page["totalResults"], page["itemsPerPage"]) == (206, 200)


def test_filters(each_gateway: Running) -> None:
    with open_scim(each_gateway) as scim:
        ana = scim.user("Ana@acme.test", externalId="X1", name={"familyName": "Ruiz"}, title="Lead")["id"]
        bo = scim.user("bo@acme.test", active=False, emails=[{"value": "bo@acme.test", "type": "work"}])["id"]
        for filter_, expected in (
            ('userName eq "ana@ACME.test"', {ana}),
            ('username EQ "ana@acme.test"', {ana}),
            (f'{USER}:userName eq "ana@acme.test"', {ana}),
            ('externalId eq "X1"', {ana}),
            ('externalId eq "x1"', set()),  # case-exact
            (f'id eq "{bo}"', {bo}),
            ('id eq "nonsense"', set()),
            ('userName eq "ana@acme.test" and externalId eq "X2"', set()),
            ('userName eq "ana@acme.test" or userName eq "bo@acme.test"', {ana, bo}),
            ('userName sw "b"', {bo}),
            ("active eq false", {bo}),
            ('emails[type eq "work"].value eq "bo@acme.test"', {bo}),
            ('emails[type eq "work" and value co "bo@"]', {bo}),
            ('name.familyName co "UIZ" and title pr', {ana}),
            ('not (userName eq "idp@acme.test") and title pr', {ana}),
            ('meta.lastModified gt "2020-01-01T00:00:00Z" and userName ne "idp@acme.test"', {ana, bo}),
            ('userName eq "a\\u0000"', set()),
            ('userName eq "\\ud800"', set()),
            ('userName eq "\' OR 1=1 --"', set()),
        ):
            assert {one["id"] for one in scim.found("/Users", filter_)} == expected, filter_


def test_a_filter_that_is_none_is_refused(scim: Scim) -> None:
    for filter_ in (
        "userName",
        'userName eq "',
        "(" * 2000,
        'nonsense eq "x"',
        'userName eq "' + "x" * 5000 + '"',
        "not (" * 900,
    ):
        refused(scim.get("/Users", filter=filter_), 400, "invalidFilter")
    refused(scim.get("/Users", filter="x" * 20_000), 400, "invalidValue", "longer")


def test_order(scim: Scim) -> None:
    for name, title in (("c", "1"), ("A", None), ("b", "2")):
        scim.user(f"{name}@acme.test", **({"title": title} if title else {}))
    people = 'userName ne "idp@acme.test"'

    def names(**query: object) -> list[str]:
        return [one["userName"][0] for one in scim.found("/Users", people, **query)]

    assert names(sortBy="userName") == ["A", "b", "c"]
    assert names(sortBy="userName", sortOrder="descending") == ["c", "b", "A"]
    assert names(sortBy="title") == ["c", "b", "A"]
    assert names(sortBy="userName", startIndex=2, count=1) == ["b"]
    refused(scim.get("/Users", sortBy="nonsense"), 400)


def test_searching_with_a_body_and_at_the_root(scim: Scim) -> None:
    ana = scim.user("ana@acme.test", displayName="Crew")["id"]
    group = scim.group("Crew")["id"]
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": 'displayName eq "crew"'}
    at_root = scim.post("/.search", body)
    assert at_root.status == 200
    assert {one["id"] for one in at_root.json["Resources"]} == {ana, group}
    assert {one["id"] for one in scim.post("/Users/.search", body).json["Resources"]} == {ana}
    assert scim.get("/", count=1, startIndex=2).json["totalResults"] == 3


def test_versions_guard_changes(scim: Scim) -> None:
    made = scim.post("/Users", {"schemas": [USER], "userName": "ana@acme.test"})
    path, first = f"/Users/{made.json['id']}", made.headers["etag"]
    assert scim.send("GET", path, If_None_Match=first).status == 304
    title = {"op": "replace", "path": "title", "value": "Lead"}
    assert scim.patch(path, title, If_Match=first).status in (200, 204)
    second = scim.get(path).headers["etag"]
    assert second != first
    refused(scim.patch(path, {"op": "remove", "path": "title"}, If_Match=first), 412)
    refused(scim.delete(path, If_Match=first), 412)
    refused(scim.put(path, {"schemas": [USER], "userName": "ana@acme.test"}, If_Match='W/"x"'), 412)
    assert scim.get(path).json["title"] == "Lead"
    before = scim.get(path).headers["etag"]
    assert scim.patch(path, title).status in (200, 204)  # says nothing new
    assert scim.get(path).headers["etag"] == before
    group = scim.group("Crew", made.json["id"])
    assert scim.get(path).headers["etag"] != before
    version = group["meta"]["version"]
    assert scim.delete(path, If_Match="*").status == 204
    assert scim.get(f"/Groups/{group['id']}").headers["etag"] != version


def test_only_what_was_asked_for_is_shown(scim: Scim) -> None:
    made = scim.user("ana@acme.test", title="Lead", displayName="Ana")
    shown = scim.get(f"/Users/{made['id']}", attributes="title").json
    assert set(shown) == {"schemas", "id", "title"}
    assert "title" not in scim.get(f"/Users/{made['id']}", excludedAttributes="title").json
