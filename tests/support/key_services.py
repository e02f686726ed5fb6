"""Vault's transit engine and Google Cloud KMS as far as their documents describe what we ask of them.

Stand-ins: neither can be had here as a program. They seal for real (AES-256-GCM), know the versions of a key, and say
no in the words of the originals.
"""

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support import website
from tests.support.website import Website

Answer = tuple[int, dict[str, Any]]


class Versions:
    """A key with its versions, each a real one."""

    def __init__(self) -> None:
        self.keys = [os.urandom(32)]

    def rotate(self) -> None:
        self.keys.append(os.urandom(32))

    def seal(self, plain: bytes, bound: bytes) -> tuple[int, bytes]:
        nonce = os.urandom(12)
        return len(self.keys), nonce + AESGCM(self.keys[-1]).encrypt(nonce, plain, bound)

    def open(self, version: int, sealed: bytes, bound: bytes) -> bytes:
        return AESGCM(self.keys[version - 1]).decrypt(sealed[:12], sealed[12:], bound)


class Vault:
    """`http://…/v1/transit/{encrypt,decrypt}/callgate` for who brings the token."""

    def __init__(self) -> None:
        self.key = Versions()
        self.token = "hvs.first"
        self.sealed = self.forbidden = False
        self.tokens_seen: list[str] = []

    def answer(self, path: str, headers: Any, form: dict[str, Any]) -> Answer:
        self.tokens_seen.append(headers["X-Vault-Token"])
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if self.forbidden or headers["X-Vault-Token"] != self.token:
            return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
        bound = base64.b64decode(form["associated_data"])
        if path == "/v1/transit/encrypt/callgate":
            version, sealed = self.key.seal(base64.b64decode(form["plaintext"]), bound)
            return 200, {"data": {"ciphertext": f"vault:v{version}:{base64.b64encode(sealed).decode()}"}}
        if path != "/v1/transit/decrypt/callgate":
            return 404, {"errors": []}
        _, version_text, text = form["ciphertext"].split(":")
        try:
            plain = self.key.open(int(version_text[1:]), base64.b64decode(text), bound)
        except InvalidTag:
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}


class Google:
    """`/token` gives access tokens for signed assertions, `/v1/{name}:encrypt` and `:decrypt` seal and open."""

    NAME = "projects/acme/locations/europe/keyRings/ring/cryptoKeys/callgate"

    def __init__(self) -> None:
        self.key = Versions()
        self.disabled = False
        self.tokens = 0

    def answer(self, path: str, headers: Any, form: dict[str, Any]) -> Answer:
        if path == "/token":
            self.tokens += 1
            return 200, {"access_token": "ya29.token", "expires_in": 3600, "token_type": "Bearer"}
        if headers["Authorization"] != "Bearer ya29.token":
            return 401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}}
        if self.disabled:
            return 400, {"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": "is not enabled"}}
        bound = base64.b64decode(form["additionalAuthenticatedData"])
        name, _, method = path.removeprefix("/v1/").rpartition(":")
        if name != self.NAME:
            return 404, {"error": {"code": 404, "status": "NOT_FOUND"}}
        if method == "encrypt":
            version, sealed = self.key.seal(base64.b64decode(form["plaintext"]), bound)
            return 200, {"ciphertext": base64.b64encode(bytes([version]) + sealed).decode()}
        raw = base64.b64decode(form["ciphertext"])
        try:
            return 200, {"plaintext": base64.b64encode(self.key.open(raw[0], raw[1:], bound)).decode()}
        except InvalidTag:
            return 400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Decryption failed"}}


class _Answering(Website):
    def __init__(self, with_: Callable[[str, Any, dict[str, Any]], Answer]) -> None:
        super().__init__()
        self._with = with_

    def answer(self, path: str, headers: Message, body: bytes) -> website.Answer:
        plain = headers["Content-Type"].startswith("application/json")
        status, found = self._with(path, headers, json.loads(body) if plain else {})
        return status, json.dumps(found).encode(), {"Content-Type": "application/json"}


@contextmanager
def serving(answer: Callable[[str, Any, dict[str, Any]], Answer]) -> Iterator[str]:
    """The base URL of a server that answers POSTs so."""
    with _Answering(answer) as found:
        yield found.url
