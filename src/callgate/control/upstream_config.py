"""Turning what a client wants of an upstream into its configuration: checked target, sealed secrets, identity.

The identity is what an upstream *is*: its URL, or its command line with the names of its variables and keyed hashes of
their values (design §4). Fail closed: a metadata or private address, a stdio upstream or an opened private network by
anybody but the operator is refused before anything is written.
"""

import base64
import hashlib
import ipaddress
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from callgate import ids
from callgate.control.fields import (
    Argument,
    Email,
    HeaderName,
    HeaderValue,
    Labels,
    ReviewMode,
    Seconds,
    Severity,
    Slug,
    Url,
    Variable,
)
from callgate.control.permissions import operator_only
from callgate.control.services import Services
from callgate.credentials.secrets import PURPOSE, binding
from callgate.errors import Refused
from callgate.model.caller import Actor
from callgate.model.upstream import Stdio, Upstream
from callgate.net.errors import EgressRefused
from callgate.net.policy import TargetPolicy, check_address
from callgate.net.target import parse_target
from callgate.store import secrets
from callgate.store.unit import Unit

_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})


class NewStdio(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program. The values of `secret_env` are sealed and never shown again."""

    command: Argument
    args: tuple[Argument, ...] = ()
    env: dict[Variable, Argument] = {}
    secret_env: dict[Variable, Argument] = {}
    cwd: Argument | None = None


class NewAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to authenticate. `secret` is sealed and never shown again; null keeps the one that is there."""

    mode: Literal["none", "shared"] = "none"
    secret: HeaderValue | None = None
    header: HeaderName = "Authorization"
    scheme: HeaderValue = "Bearer"


class NewUpstream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An upstream to add: a `url`, or a `stdio` program. `owner` is the person whose secrets these are."""

    name: Slug
    url: Url | None = None
    transport: Literal["http", "sse"] = "http"
    stdio: NewStdio | None = None
    auth: NewAuth = NewAuth()
    allow_private: bool = False
    enabled: bool = True
    timeout_s: Seconds = 300.0
    review: ReviewMode = "review"
    trust_below: Severity = "medium"
    labels: Labels = ()
    owner: Email | None = None


class UpstreamChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change; what is left out stays. `stdio` and `auth` are replaced as a whole."""

    url: Url | None = None
    transport: Literal["http", "sse"] | None = None
    stdio: NewStdio | None = None
    auth: NewAuth | None = None
    allow_private: bool | None = None
    enabled: bool | None = None
    timeout_s: Seconds | None = None
    review: ReviewMode | None = None
    trust_below: Severity | None = None
    labels: Labels | None = None


@dataclass(frozen=True, slots=True)
class Configured:
    """A configuration that passed all checks. `secret` is what has to be sealed, None = keep what is there."""

    upstream: Upstream
    secret: bytes | None = field(default=None, repr=False)


def create(services: Services, tenant: str, new: NewUpstream) -> Configured:
    """A new upstream. Raises `Refused`: validation, unsafe_target."""
    if (new.url is None) == (new.stdio is None):
        raise Refused("validation", "An upstream has either a `url` or a `stdio` program.")
    upstream = Upstream(
        ids.new_id("ups"), tenant, new.name, "stdio" if new.stdio else new.transport, enabled=new.enabled
    )
    change = UpstreamChange(
        new.url, None if new.stdio else new.transport, new.stdio, new.auth, new.allow_private, None, new.timeout_s,
        new.review, new.trust_below, new.labels,
    )  # fmt: skip
    return revise(services, upstream, change)


def guard(actor: Actor, before: Upstream | None, after: Upstream) -> None:
    """Refuse what only the operator may do: a new or other program, a private network that opens."""
    is_other = before is None or before.stdio != after.stdio or before.identity != after.identity
    if after.stdio is not None and is_other:
        operator_only(actor, "upstreams.stdio")
    if after.allow_private and not (before is not None and before.allow_private):
        operator_only(actor, "upstreams.allow_private")


def revise(services: Services, upstream: Upstream, change: UpstreamChange) -> Configured:
    """An upstream after a change. Raises `Refused`: validation, unsafe_target."""
    is_stdio = upstream.kind == "stdio"
    if (is_stdio and (change.url or change.transport)) or (not is_stdio and change.stdio):
        raise Refused("validation", "An upstream can not change between a URL and a program; add another one.")
    plain = {
        name: value
        for name in ("url", "allow_private", "enabled", "timeout_s", "review", "trust_below", "labels")
        if (value := getattr(change, name)) is not None
    }
    if change.transport is not None:
        plain["kind"] = change.transport
    if "labels" in plain:
        plain["labels"] = tuple(sorted(set(plain["labels"])))
    upstream = msgspec.structs.replace(upstream, **plain)
    secret = None
    if change.stdio is not None:
        upstream, secret = _with_program(services, upstream, change.stdio)
    elif not is_stdio:
        check_target(services, upstream)
        upstream = msgspec.structs.replace(upstream, identity=_digest({"kind": "url", "url": upstream.url}))
    if change.auth is not None:
        upstream, secret = _with_auth(upstream, change.auth, secret)
    return Configured(upstream, secret)


def check_target(services: Services, upstream: Upstream) -> None:
    """Refuse a URL that may never be reached. Names are checked again, by their addresses, at every connection."""
    try:
        target = parse_target(upstream.url or "")
        policy = TargetPolicy(allow_private=upstream.allow_private, allowed_networks=services.settings.networks)
        try:
            address = ipaddress.ip_address(target.host)
        except ValueError:
            if target.host.rstrip(".") in _METADATA_NAMES:
                raise EgressRefused("This is the metadata service of a cloud; no setting opens it.") from None
            return
        check_address(address, policy)
    except EgressRefused as refused:
        raise Refused("unsafe_target", str(refused)) from None


def _with_program(services: Services, upstream: Upstream, new: NewStdio) -> tuple[Upstream, bytes | None]:
    both = sorted(new.env.keys() & new.secret_env.keys())
    if both:
        raise Refused("validation", f"{both[0]} stands in `env` and in `secret_env`.")
    stdio = Stdio(new.command, new.args, dict(new.env), new.cwd, tuple(sorted(new.secret_env)))
    values = {**new.env, **new.secret_env}
    facts = {
        "kind": "stdio",
        "command": new.command,
        "args": new.args,
        "cwd": new.cwd,
        "env": {
            name: services.envelope.mac(upstream.tenant, "identity", value.encode()).hex()
            for name, value in values.items()
        },
    }
    secret = msgspec.json.encode(new.secret_env) if new.secret_env else None
    keep = upstream.secret_id if new.secret_env else None
    return msgspec.structs.replace(upstream, stdio=stdio, identity=_digest(facts), secret_id=keep), secret


def _with_auth(upstream: Upstream, auth: NewAuth, secret: bytes | None) -> tuple[Upstream, bytes | None]:
    if upstream.kind == "stdio":
        if auth.mode != "none":
            raise Refused("validation", "A program gets its credential through `secret_env`, not through `auth`.")
        return upstream, secret
    if auth.mode == "none":
        if auth.secret is not None:
            raise Refused("validation", "`auth.secret` needs `auth.mode` to be `shared`.")
        return msgspec.structs.replace(upstream, auth_mode="none", secret_id=None), None
    if auth.secret is None and upstream.secret_id is None:
        raise Refused("validation", "`auth.mode` `shared` needs a `secret`.")
    changed = msgspec.structs.replace(upstream, auth_mode="shared", auth_header=auth.header, auth_scheme=auth.scheme)
    return changed, None if auth.secret is None else auth.secret.encode()


def _digest(facts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()


async def keep_secret(services: Services, unit: Unit, configured: Configured, owner: str | None) -> Upstream:
    """The upstream with its secret sealed into the store.

    The id is a keyed hash of upstream and value, so the same value twice is the same row and changes nothing.
    """
    upstream, secret = configured.upstream, configured.secret
    if secret is None:
        return upstream
    tag = services.envelope.mac(upstream.tenant, "secret-id", f"{upstream.id}\0".encode() + secret)
    secret_id = "sec_" + base64.b32encode(tag).decode().lower()[:26]
    if await secrets.get(unit, secret_id) is None:
        sealed = services.envelope.seal(upstream.tenant, PURPOSE, binding(upstream.id), secret)
        await secrets.put(unit, secret_id, PURPOSE, sealed, owner)
    return msgspec.structs.replace(upstream, secret_id=secret_id)
