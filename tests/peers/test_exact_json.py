"""The comparison sees what ordinary JSON libraries hide."""

import pytest

from tests.peers.exact_json import decode, differences


@pytest.mark.parametrize(
    ("left", "right", "paths"),
    [
        (b'{"a":1}', b'{"a":1}', []),
        (b'{"a":"\\u00e9"}', '{"a":"é"}'.encode(), []),
        (b'{"a":1}', b'{"a":1.0}', ["$.a"]),
        (b'{"a":9007199254740993}', b'{"a":9007199254740992}', ["$.a"]),
        (b'{"a":1e400}', b'{"a":Infinity}', ["$.a"]),
        (b'{"a":-0}', b'{"a":0}', ["$.a"]),
        (b'{"a":null}', b"{}", ["$.a"]),
        (b'{"a":1}', b'{"a":"1"}', ["$.a"]),
        (b'{"a":true}', b'{"a":1}', ["$.a"]),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}', ["$ (order)"]),
        (b'{"a":1,"a":2}', b'{"a":2}', ["$.a", "$.a"]),
        (b'{"a":[1,{"b":null}]}', b'{"a":[1,{}]}', ["$.a[1].b"]),
        (b"[1,2]", b"[1]", ["$[1]"]),
    ],
)
def test_differences_are_found_where_they_are(left: bytes, right: bytes, paths: list[str]) -> None:
    assert [found.path for found in differences(decode(left), decode(right))] == paths
