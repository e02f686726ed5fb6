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
    AuthMode,
    Email,
    HeaderName,
    HeaderValue,
    Labels,
    OwnMode,
    ReviewMode,
    Scope,
    Seconds,
    Secret,
    SecretKind,
    Severity,
    Slug,
    Text,
    Url,
    Variable,
)
from callgate.control.permissions import operator_only
from callgate.control.services import Services
from callgate.credentials.registering import private_key
from callgate.credentials.secrets import PURPOSE, binding
from callgate.errors import Refused
from callgate.model.caller import Actor
from callgate.model.upstream import EXCHANGES, ID_JAG, ON_BEHALF_OF, OWN_TOKEN, SHARED, Auth, Stdio, Upstream
from callgate.net.errors import EgressRefused
from callgate.net.policy import TargetPolicy, check_address
from callgate.net.target import parse_target
from callgate.store import providers, secrets
from callgate.store.unit import Unit

_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})


class NewStdio(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program. The values of `secret_env` are sealed and never shown again."""

    command: Argument
    args: tuple[Argument, ...] = ()
    env: dict[Variable, Argument] = {}
    secret_env: dict[Variable, Argument] = {}
    cwd: Argument | None = None

    def __repr__(self) -> str:
        return f"NewStdio({self.command})"


class NewAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to authenticate. `secret` is sealed and never shown again; null keeps the one that is there.

    `kind` is what the secret of mode `shared` is, or how mode `on_behalf_of` makes tokens out of people's sign-in at
    `provider` (`token_exchange`, `id_jag`); `client_id`, `issuer` and `scopes` are for OAuth, where they are not to be
    discovered. `writes`: the mode for tools that do not say that they only read, null for the same.
    """

    mode: AuthMode = "none"
    secret: Secret | None = None
    header: HeaderName = "Authorization"
    scheme: HeaderValue = "Bearer"
    kind: SecretKind = "secret"
    client_id: Text = ""
    issuer: Url | None = None
    scopes: tuple[Scope, ...] = ()
    writes: OwnMode | None = None
    provider: Slug | None = None

    def __repr__(self) -> str:
        return f"NewAuth({self.mode})"


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
    opened = before is not None and before.allow_private and _origin(before) == _origin(after)
    if after.allow_private and not opened:
        operator_only(actor, "upstreams.allow_private")


def revise(services: Services, upstream: Upstream, change: UpstreamChange) -> Configured:
    """An upstream after a change. Raises `Refused`: validation, unsafe_target."""
    before, is_stdio = upstream, upstream.kind == "stdio"
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
    if secret is None and upstream.secret_id is not None and _goes_to(before) != _goes_to(upstream):
        raise Refused("validation", "The secret is for the host and issuer that it was entered for; give `auth` anew.")
    return Configured(upstream, secret)


def _origin(upstream: Upstream) -> str:
    return parse_target(upstream.url).origin if upstream.url is not None else ""


def _goes_to(upstream: Upstream) -> tuple[str, str]:
    """Who gets to see an upstream's secret."""
    return _origin(upstream), upstream.auth.issuer


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
    check_auth(auth, has_secret=auth.secret is not None or upstream.secret_id is not None)
    more = Auth(auth.kind, auth.client_id, auth.issuer or "", auth.scopes, auth.writes or "", auth.provider or "")
    changed = msgspec.structs.replace(
        upstream, auth_mode=auth.mode, auth_header=auth.header, auth_scheme=auth.scheme, auth=more
    )
    if auth.secret is None:
        keeps = auth.mode == SHARED or (auth.mode == ON_BEHALF_OF and auth.client_id)
        return changed if keeps else msgspec.structs.replace(changed, secret_id=None), None
    return changed, auth.secret.encode()


def check_auth(auth: NewAuth, *, has_secret: bool) -> None:
    """Raise `Refused("validation")` for what does not fit together."""
    service = auth.kind in ("client_credentials", "private_key_jwt")
    if auth.kind in EXCHANGES or auth.provider is not None:
        _check_exchange(auth)
        return
    if auth.mode == SHARED and not has_secret:
        raise Refused("validation", "`auth.mode` `shared` needs a `secret`.")
    if auth.mode in ("none", OWN_TOKEN) and auth.secret is not None:
        raise Refused("validation", f"`auth.secret` needs `auth.mode` to be `shared`; `{auth.mode}` takes none.")
    if auth.mode != SHARED and auth.kind != "secret" and not (auth.mode == ON_BEHALF_OF and service):
        raise Refused("validation", f"`auth.kind` `{auth.kind}` is for `auth.mode` `shared`.")
    if service and not auth.client_id:
        raise Refused("validation", f"`auth.kind` `{auth.kind}` needs a `client_id`.")
    if auth.mode == ON_BEHALF_OF and auth.secret is not None and not auth.client_id:
        raise Refused("validation", "A `secret` of mode `on_behalf_of` needs its `client_id`.")
    if auth.writes is not None and (auth.mode != SHARED or service):
        raise Refused("validation", "`auth.writes` is for a shared header or password: others act as one already.")
    if auth.kind == "private_key_jwt" and auth.secret is not None:
        private_key(auth.secret)


def _check_exchange(auth: NewAuth) -> None:
    if auth.kind not in EXCHANGES or auth.provider is None or auth.mode != ON_BEHALF_OF:
        raise Refused(
            "validation",
            "`auth.kind` `token_exchange` and `id_jag` are for `auth.mode` `on_behalf_of`, with an `auth.provider`.",
        )
    if auth.kind == ID_JAG and not (auth.client_id and auth.issuer):
        raise Refused(
            "validation",
            "`auth.kind` `id_jag` needs the `issuer` that assertions are for, and our `client_id` there: the upstream "
            "does not choose who gets them.",
        )
    if auth.kind != ID_JAG and (auth.client_id or auth.secret is not None):
        raise Refused("validation", "`auth.kind` `token_exchange` asks as the provider's client; enter no other.")
    if auth.writes is not None:
        raise Refused("validation", "`auth.writes` is for a shared header or password: others act as one already.")


async def check_provider(unit: Unit, upstream: Upstream) -> None:
    """Raise `Refused("validation")` unless the provider whose sign-ins are exchanged keeps them."""
    name = upstream.auth.provider
    known = await providers.by_name(unit, name) if name else None
    if name and (known is None or not known.config.keep_tokens):
        raise Refused("validation", f"No provider {name} keeps sign-ins: callgate providers put {name} --keep-tokens …")


def _digest(facts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()


async def keep_secret(services: Services, unit: Unit, configured: Configured, owner: str | None) -> Upstream:
    """The upstream with its secret sealed into the store.

    The id is a keyed hash of upstream and value, so the same value twice is the same row and changes nothing.
    """
    upstream, secret = configured.upstream, configured.secret
    await check_provider(unit, upstream)
    if secret is None:
        return upstream
    tag = services.envelope.mac(upstream.tenant, "secret-id", f"{upstream.id}\0".encode() + secret)
    secret_id = "sec_" + base64.b32encode(tag).decode().lower()[:26]
    if await secrets.get(unit, secret_id) is None:
        sealed = await services.envelope.seal(upstream.tenant, PURPOSE, binding(upstream.id), secret)
        await secrets.put(unit, secret_id, PURPOSE, sealed, owner)
    return msgspec.structs.replace(upstream, secret_id=secret_id)
