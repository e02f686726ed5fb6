"""Google Cloud KMS as a wrapping key: its REST interface over our own client, with tokens by Google's library.

Credentials are found where that library always looks (`GOOGLE_APPLICATION_CREDENTIALS`, the metadata server); it asks
for tokens with a client of its own, in a thread. The tenant is the additional authenticated data. Fail closed: see
`wrapping`.
Source: Cloud KMS API v1, cryptoKeys.encrypt and decrypt.
"""

import asyncio
from typing import Any

import google.auth
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from callgate.credentials.kms_service import Answer, ask, decoded, encoded
from callgate.credentials.wrapping import WrongKey
from callgate.errors import Refused
from callgate.net.client import Client
from callgate.net.policy import Network

_SCOPE = "https://www.googleapis.com/auth/cloudkms"
_ENDPOINT = "https://cloudkms.googleapis.com"


class GoogleKey:
    """One key, by its resource name."""

    def __init__(
        self, name: str, key: str, outside: tuple[Client, tuple[Network, ...]], endpoint: str = _ENDPOINT
    ) -> None:  # fmt: skip
        self.name = name
        self._url = f"{endpoint}/v1/{key}"
        self._outside = outside
        self._credentials: Any = None

    def owns(self, name: str) -> bool:
        return name == self.name

    async def wrap(self, tenant: str, keyset: bytes) -> bytes:
        return decoded((await self._ask("encrypt", {"plaintext": encoded(keyset)}, tenant)).body.get("ciphertext"))

    async def unwrap(self, tenant: str, wrapped: bytes) -> bytes:
        return decoded((await self._ask("decrypt", {"ciphertext": encoded(wrapped)}, tenant)).body.get("plaintext"))

    async def _ask(self, what: str, form: dict[str, str], tenant: str) -> Answer:
        form["additionalAuthenticatedData"] = encoded(tenant.encode())
        answer = await ask(self._outside, f"{self._url}:{what}", {"authorization": await self._token()}, form)
        if answer.status == 200:
            return answer
        if answer.status == 400 and what == "decrypt" and "INVALID_ARGUMENT" in answer.text:
            raise WrongKey
        raise Refused("keys_refused", f"Google Cloud KMS refused the key (status {answer.status}); tell the operator.")

    async def _token(self) -> str:
        try:
            return "Bearer " + await asyncio.to_thread(self._fresh)
        except GoogleAuthError as error:
            kind = type(error).__name__
            raise Refused("keys_unavailable", f"Google gave no token for Cloud KMS ({kind}); try again soon.") from None

    def _fresh(self) -> str:
        if self._credentials is None:
            self._credentials, _project = google.auth.default(scopes=[_SCOPE])
        if not self._credentials.valid:
            self._credentials.refresh(Request())
        return str(self._credentials.token)
