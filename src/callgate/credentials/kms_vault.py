"""HashiCorp Vault's (and OpenBao's) transit engine as a wrapping key.

The token is read from its file at each use, so that an agent can renew it. The tenant is the associated data of the
ciphertext: the key must be of an AEAD type (aes256-gcm96, the default, or chacha20-poly1305). Vault keeps the versions
of a key; a ciphertext says which one it needs. Fail closed: see `wrapping`.
Source: Vault API, /transit/encrypt and /transit/decrypt.
"""

from pathlib import Path
from urllib.parse import quote, urlsplit

from callgate.credentials import keyfile
from callgate.credentials.kms_service import Answer, ask, decoded, encoded
from callgate.credentials.wrapping import WrongKey
from callgate.errors import Refused
from callgate.net.client import Client
from callgate.net.policy import Network

_KEYS = "/keys/"


class Transit:
    """One key: `hcvault://host:8200/transit/keys/name`, or `hcvault+http://…` on loopback."""

    def __init__(self, name: str, outside: tuple[Client, tuple[Network, ...]], token_file: Path) -> None:
        self.name = name
        self._outside = outside
        self._token_file = token_file
        found = urlsplit(name)
        mount, _, key = found.path.rpartition(_KEYS)
        scheme = "http" if found.scheme.endswith("+http") else "https"
        self._base = f"{scheme}://{found.netloc}/v1{mount}"
        self._key = quote(key, safe="")

    def owns(self, name: str) -> bool:
        return name == self.name

    async def wrap(self, tenant: str, keyset: bytes) -> bytes:
        answer = await self._ask("encrypt", {"plaintext": encoded(keyset)}, tenant)
        return str(_data(answer).get("ciphertext", "")).encode()

    async def unwrap(self, tenant: str, wrapped: bytes) -> bytes:
        answer = await self._ask("decrypt", {"ciphertext": wrapped.decode("ascii", "replace")}, tenant)
        return decoded(_data(answer).get("plaintext"))

    async def _ask(self, what: str, form: dict[str, str], tenant: str) -> Answer:
        headers = {"x-vault-token": keyfile.secret(self._token_file), "x-vault-request": "true"}
        form["associated_data"] = encoded(tenant.encode())
        answer = await ask(self._outside, f"{self._base}/{what}/{self._key}", headers, form)
        if answer.status == 200:
            return answer
        if answer.status == 400 and what == "decrypt" and "authentication failed" in answer.text:
            raise WrongKey
        raise Refused("keys_refused", f"Vault refused {self._key} (status {answer.status}); tell the operator.")


def _data(answer: Answer) -> dict[str, object]:
    data = answer.body.get("data")
    if not isinstance(data, dict):
        raise Refused("keys_unavailable", "Vault gave an answer of an unknown form.")
    return data
