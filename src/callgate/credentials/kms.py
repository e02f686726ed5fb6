"""Key services by the URIs of the setting `kms`, in the form that Tink gave them.

`aws-kms://arn:…`, `gcp-kms://projects/…/cryptoKeys/…`, `hcvault://host:8200/transit/keys/name`. The clients of AWS and
Google are extras of the package, loaded when they are named. Fail closed: an extra that is not installed is
`bad_setting`.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from callgate.credentials.kms_vault import Transit
from callgate.credentials.wrapping import WrappingKey
from callgate.errors import Refused
from callgate.net.client import Client
from callgate.net.policy import Network

Outside = tuple[Client, tuple[Network, ...]]


def key_of(uri: str, outside: Outside, token_file: Path | None) -> WrappingKey:
    """The wrapping key of a URI that the settings let through. Raises `Refused("bad_setting")`."""
    scheme, _, rest = uri.partition("://")
    if scheme == "aws-kms":
        aws: WrappingKey = _extra("aws").AwsKey(uri, rest)
        return aws
    if scheme == "gcp-kms":
        google: WrappingKey = _extra("gcp").GoogleKey(uri, rest, outside)
        return google
    if token_file is None:
        raise Refused("bad_setting", f"kms: {uri} needs the setting vault_token_file.")
    return Transit(uri, outside, token_file)


def _extra(name: str) -> ModuleType:
    try:
        return import_module(f"callgate.credentials.kms_{name}")
    except ImportError:
        raise Refused(
            "bad_setting", f"kms: the client for this service is not installed; run: pip install 'callgate[{name}]'"
        ) from None
