"""Every place of the store that holds something sealed with a tenant's keyset, and what each is bound to.

A test compares this list with the columns of the schema. What is not here is sealed with the key file, or not at all.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from callgate.approvals import kept, requests
from callgate.credentials import connecting, exchange, granted, registering, secrets
from callgate.identity import local
from callgate.store.sealed import Where

Row = Mapping[str, Any]


class Place(NamedTuple):
    """`bound` gives purpose and associated data of a row; the second argument maps secrets to their owners."""

    where: Where
    bound: Callable[[Row, Mapping[str, str]], tuple[str, bytes]]


def _secret(row: Row, owners: Mapping[str, str]) -> tuple[str, bytes]:
    return row["purpose"], secrets.binding(owners.get(row["id"], ""))


PLACES = (
    Place(Where("secrets", "sealed", ("id",), ("purpose",)), _secret),
    Place(
        Where("grants", "sealed", ("person", "upstream")),
        lambda row, _: (granted.PURPOSE, granted.binding(row["person"], row["upstream"])),
    ),
    Place(
        Where("upstream_clients", "sealed", ("upstream", "issuer")),
        lambda row, _: (registering.PURPOSE, registering.binding(row["upstream"], row["issuer"])),
    ),
    Place(
        Where("connects", "sealed", ("hash",), ("person", "upstream")),
        lambda row, _: (connecting.SEALED, granted.binding(row["person"], row["upstream"])),
    ),
    Place(
        Where("provider_tokens", "sealed", ("provider", "person")),
        lambda row, _: (exchange.PURPOSE, exchange.binding(row["provider"], row["person"])),
    ),
    Place(Where("local_accounts", "totp", ("person",)), lambda row, _: (local.PURPOSE, row["person"].encode())),
    Place(Where("approvals", "sealed", ("id",)), lambda row, _: (requests.PURPOSE, row["id"].encode())),
    Place(Where("kept_arguments", "sealed", ("call",)), lambda row, _: (kept.PURPOSE, row["call"].encode())),
)
OUTBOX = Where("revocations", "sealed", ("id",))
"""What vendors have to be told: a document with sealed values inside (`credentials.revoking.Over`)."""
