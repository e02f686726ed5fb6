"""AWS KMS as a wrapping key, by AWS's own client, which finds region and credentials where it always does.

The tenant is in the encryption context, so it stands in CloudTrail and a ciphertext opens for no other. The client
blocks and is used in a thread, with its own short limits of time. Fail closed: see `wrapping`.
Source: AWS KMS API Reference, Encrypt and Decrypt, "Errors".
"""

import asyncio
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from callgate.credentials.wrapping import WrongKey
from callgate.errors import Refused

_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 3, "mode": "standard"})
_WRONG = frozenset({"IncorrectKeyException", "InvalidCiphertextException"})
_AWAY = frozenset({
    "DependencyTimeoutException", "KMSInternalException", "KeyUnavailableException", "LimitExceededException",
    "ThrottlingException", "RequestLimitExceeded", "ServiceUnavailable", "InternalFailure",
})  # fmt: skip


class AwsKey:
    """One key, by its ARN or that of an alias."""

    def __init__(self, name: str, arn: str) -> None:
        self.name = name
        self._arn = arn
        self._client: Any = None

    def owns(self, name: str) -> bool:
        return name == self.name

    async def wrap(self, tenant: str, keyset: bytes) -> bytes:
        given = {"KeyId": self._arn, "Plaintext": keyset, "EncryptionContext": _context(tenant)}
        wrapped: bytes = (await self._ask(lambda client: client.encrypt(**given)))["CiphertextBlob"]
        return wrapped

    async def unwrap(self, tenant: str, wrapped: bytes) -> bytes:
        given = {"KeyId": self._arn, "CiphertextBlob": wrapped, "EncryptionContext": _context(tenant)}
        keyset: bytes = (await self._ask(lambda client: client.decrypt(**given)))["Plaintext"]
        return keyset

    async def _ask(self, ask: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        try:
            return await asyncio.to_thread(lambda: ask(self._connected()))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in _WRONG:
                raise WrongKey from None
            if code in _AWAY or status >= 500:
                raise Refused("keys_unavailable", f"AWS KMS answered {code}; try again soon.") from None
            raise Refused("keys_refused", f"AWS KMS refused {self._arn} ({code}); tell the operator.") from None
        except BotoCoreError as error:
            kind = type(error).__name__  # its text may hold what was sent
            raise Refused("keys_unavailable", f"AWS KMS cannot be asked ({kind}); try again soon.") from None

    def _connected(self) -> Any:
        if self._client is None:
            parts = self._arn.split(":")
            region = parts[3] if len(parts) > 3 and parts[3] else None
            self._client = boto3.session.Session().client("kms", region_name=region, config=_CONFIG)
        return self._client


def _context(tenant: str) -> dict[str, str]:
    return {"callgate": "keyset", "tenant": tenant}
