"""AWS KMS as moto has it, on a port of its own. Like the real one, and unlike moto, it serves no disabled key."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.core.exceptions import JsonRESTError
from moto.kms.models import KmsBackend
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
_AT_FIRST: dict[str, Any] = {"encrypt": KmsBackend.encrypt, "decrypt": KmsBackend.decrypt}
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class DisabledError(JsonRESTError):
    def __init__(self) -> None:
        super().__init__("DisabledException", "The key is disabled.")


def _strict(name: str) -> Any:
    def method(self: KmsBackend, *, key_id: str, **more: Any) -> Any:
        if self.keys[self.any_id_to_key_id(key_id)].key_state == "Disabled":
            raise DisabledError
        return _AT_FIRST[name](self, key_id=key_id, **more)

    return method


class Aws:
    """`kms` is the administrator's client. `away` and `back` take the service off its port and put it back."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, self._port = self._server.get_host_and_port()
        self.url = f"http://{host}:{self._port}"
        self.kms: Any = boto3.session.Session("testing", "testing").client(
            "kms", region_name=REGION, endpoint_url=self.url
        )

    def key(self) -> str:
        """The ARN of a new key."""
        arn: str = self.kms.create_key()["KeyMetadata"]["Arn"]
        return arn

    def disable(self, arn: str) -> None:
        self.kms.disable_key(KeyId=arn.rpartition("/")[2])

    def enable(self, arn: str) -> None:
        self.kms.enable_key(KeyId=arn.rpartition("/")[2])

    def away(self) -> None:
        self._server.stop()

    def back(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()


@contextmanager
def aws() -> Iterator[Aws]:
    """A fresh service, with the variables set by which every client of this process finds it."""
    before = dict(os.environ)
    for name in _AT_FIRST:
        setattr(KmsBackend, name, _strict(name))
    found = Aws()
    os.environ.update(VARIABLES, AWS_ENDPOINT_URL_KMS=found.url)
    try:
        yield found
    finally:
        os.environ.clear()
        os.environ.update(before)
        found.away()
        for name, method in _AT_FIRST.items():
            setattr(KmsBackend, name, method)
