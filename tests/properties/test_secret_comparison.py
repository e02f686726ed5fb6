"""Secrets are compared in constant time: no `==` on one in the packages that see them. (Whatever is looked up in the
store is looked up by its SHA-256, so the time of a look-up says nothing of the secret.)"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src" / "callgate"
PACKAGES = ("accounts", "connections", "control", "credentials", "identity", "jose", "oauth", "offboarding", "scim",
            "signin", "web")  # fmt: skip
SECRET = re.compile(r"(?:secret|password|passphrase|verifier|challenge|signature|digest|nonce|mac|mark|csrf|otp)s?$")
NAMES = ("nonce", "state", "signature", "client_secret", "code_verifier", "logout_token", "assertion")


def comparisons(source: str) -> Iterator[str]:
    """Equality on something whose name says that it is secret."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
            for side in (node.left, *node.comparators):
                if SECRET.search(_name(side)) or (_name(side) in NAMES and not isinstance(side, ast.Attribute)):
                    yield ast.unparse(node)
                    break


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        return str(node.args[0].value)  # form.get("client_secret")
    return ""


@pytest.mark.parametrize(
    "bad",
    [
        "known.secret == given", "form['client_secret'] != stored", "form.get('state') == underway", "a.digest == b",
        "x is None or password != other",
    ],
)  # fmt: skip
def test_the_walk_finds_what_it_looks_for(bad: str) -> None:
    assert list(comparisons(bad))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_secret_is_compared_by_equality(package: str) -> None:
    found = [
        f"{file.relative_to(SOURCES)}: {one}"
        for file in sorted((SOURCES / package).rglob("*.py")) for one in comparisons(file.read_text())
    ]  # fmt: skip
    assert not found, "use hmac.compare_digest"
