"""A small SCIM client: requests as an identity provider sends them, answers as (status, headers, JSON)."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from tests.support.running import Running

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


def patch_body(*operations: object) -> bytes:
    return json.dumps({"schemas": [PATCH], "Operations": operations}).encode()


class Said(NamedTuple):
    """One answer."""

    status: int
    headers: Mapping[str, str]
    json: Any


class Scim:
    """One connection. `root` is where the endpoints are."""

    def __init__(self, url: str, token: str | None, root: str = "/scim/v2") -> None:
        self.url = url
        self.token = token
        self.root = root
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    @classmethod
    @contextmanager
    def at(cls, url: str, token: str | None, root: str = "/scim/v2") -> Iterator["Scim"]:
        found = cls(url, token, root)
        try:
            yield found
        finally:
            found._connection.close()

    def send(self, method: str, path: str, body: bytes | None = None, /, **headers: str) -> Said:
        """One request with these bytes; header names with `_` for `-`."""
        sent = {"Content-Type": "application/scim+json"} if body is not None else {}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, self.root + path, body, sent)
        answer = self._connection.getresponse()
        raw = answer.read()
        heads = {name.lower(): value for name, value in answer.getheaders()}
        return Said(answer.status, heads, json.loads(raw) if raw else None)

    def get(self, path: str, **query: object) -> Said:
        return self.send("GET", path + (f"?{urlencode(query)}" if query else ""))

    def post(self, path: str, body: object, **headers: str) -> Said:
        return self.send("POST", path, json.dumps(body).encode(), **headers)

    def put(self, path: str, body: object, **headers: str) -> Said:
        return self.send("PUT", path, json.dumps(body).encode(), **headers)

    def patch(self, path: str, *operations: object, **headers: str) -> Said:
        return self.send("PATCH", path, patch_body(*operations), **headers)

    def delete(self, path: str, **headers: str) -> Said:
        return self.send("DELETE", path, **headers)

    def user(self, user_name: str, **more: object) -> Any:
        """A new user."""
        said = self.post("/Users", {"schemas": [USER], "userName": user_name, **more})
        assert said.status == 201, said
        return said.json

    def group(self, name: str, *members: str, **more: object) -> Any:
        """A new group with these users."""
        body = {"schemas": [GROUP], "displayName": name, "members": [{"value": one} for one in members], **more}
        said = self.post("/Groups", body)
        assert said.status == 201, said
        return said.json

    def found(self, path: str, filter_: str, **more: object) -> list[Any]:
        """What a filter finds."""
        said = self.get(path, filter=filter_, **more)
        assert said.status == 200, said
        return list(said.json.get("Resources", []))


@contextmanager
def open_scim(gateway: Running, email: str = "idp@acme.test") -> Iterator[Scim]:
    """An identity provider's client, with a token of an admin of its own."""
    gateway.operator.post("/people", {"email": email, "roles": ["admin"]})
    token = gateway.operator.post("/tokens", {"person": email, "client": "scim"})["token"]
    with Scim.at(gateway.url, token) as found:
        yield found


def refused(said: Said, status: int, scim_type: str | None = "", saying: str = "") -> None:
    """Assert that an answer is an error document (RFC 7644, section 3.12); `scim_type` "" is any or none."""
    assert said.status == status, said
    assert said.headers["content-type"].startswith("application/scim+json")
    assert said.json["schemas"] == [ERROR]
    assert said.json["status"] == str(status)
    assert scim_type == "" or said.json.get("scimType") == scim_type, said.json
    assert saying in said.json["detail"], said.json
