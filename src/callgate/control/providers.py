"""Resource /providers: the OpenID providers at which people sign in. Secrets go in and never come out."""

from typing import Any

import msgspec

from callgate import clock, ids
from callgate.control.documents import Role
from callgate.control.fields import Glob, HeaderValue, Slug, Text, Url
from callgate.control.operations import Asked, Operation, Page, PageQuery, page_of
from callgate.control.permissions import operator_only
from callgate.credentials.exchange import PROVIDER_SECRET
from callgate.errors import Refused
from callgate.identity.recording import record
from callgate.model.signin import Provider, ProviderConfig
from callgate.store import provider_tokens, secrets
from callgate.store import providers as rows
from callgate.store.unit import Unit


class NewProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider as it shall be. `secret` null keeps the one that is there."""

    issuer: Url
    client_id: Text
    secret: HeaderValue | None = None
    scopes: tuple[Text, ...] = ("openid", "email", "profile")
    domains: tuple[Text, ...] = ()
    groups_claim: Text = "groups"
    roles: dict[Glob, Role] = {}
    teams: dict[Glob, Slug] = {}
    just_in_time: bool = True
    trust_email: bool = False
    allow_private: bool = False
    keep_tokens: bool = False
    id_jag: bool = False

    def __repr__(self) -> str:
        return f"NewProvider({self.issuer}, {self.client_id})"


class ProviderView(msgspec.Struct, frozen=True):
    """A provider without its secret. Register `callback` and `backchannel_logout` there."""

    id: str
    name: str
    issuer: str
    client_id: str
    scopes: tuple[str, ...]
    domains: tuple[str, ...]
    groups_claim: str
    roles: dict[str, str]
    teams: dict[str, str]
    just_in_time: bool
    trust_email: bool
    allow_private: bool
    keep_tokens: bool
    id_jag: bool
    has_secret: bool
    callback: str
    backchannel_logout: str


def _view(asked: Asked[Any, Any], one: Provider) -> ProviderView:
    base = asked.services.address(asked.tenant)
    plain = msgspec.structs.asdict(one.config)
    return ProviderView(
        id=one.id, name=one.name, **plain, has_secret=one.secret_id is not None, callback=f"{base}/signin/callback",
        backchannel_logout=f"{base}/signin/backchannel/{one.name}",
    )  # fmt: skip


async def list_providers(asked: Asked[PageQuery, None]) -> Page[ProviderView]:
    async with asked.services.db.unit(asked.tenant, write=False) as unit:
        found = await rows.page(unit, asked.query.after, asked.query.limit + 1)
    return page_of([_view(asked, one) for one in found], asked.query.limit, lambda one: one.id)


async def put_provider(asked: Asked[Any, NewProvider]) -> ProviderView:
    body = asked.body
    if body.allow_private:
        operator_only(asked.actor, "upstreams.allow_private")
    if "openid" not in body.scopes:
        raise Refused("validation", "`scopes` must hold `openid`.")
    envelope = asked.services.envelope
    await envelope.unlock(asked.tenant)
    fields = {name: getattr(body, name) for name in body.__struct_fields__ if name != "secret"}
    async with asked.services.db.unit(asked.tenant) as unit:
        known = await rows.by_name(unit, asked.path["name"])
        row = known.id if known is not None else ids.new_id("idp")
        secret_id = known.secret_id if known is not None else None
        is_other = known is not None and known.config.issuer != body.issuer
        if is_other and secret_id is not None and body.secret is None:
            raise Refused("validation", "The secret is for the issuer that it was entered for; give it anew.")
        if body.secret is not None:
            if secret_id is not None:
                await secrets.remove(unit, secret_id)
            secret_id = ids.new_id("sec")
            sealed = await envelope.seal(asked.tenant, PROVIDER_SECRET, row.encode(), body.secret.encode())
            await secrets.put(unit, secret_id, PROVIDER_SECRET, sealed)
        one = Provider(row, asked.tenant, asked.path["name"], ProviderConfig(**fields), secret_id, clock.now())
        await rows.put(unit, one)
        if is_other:  # the same subject is somebody else there
            await rows.forget_subjects(unit, row)
        if is_other or not body.keep_tokens:
            await provider_tokens.remove(unit, provider=row)
        await record(unit, asked.actor, "providers.put", one.id)
    return _view(asked, one)


async def remove_provider(asked: Asked[Any, None]) -> None:
    async with asked.services.db.unit(asked.tenant) as unit:
        one = await _find(unit, asked.path["name"])
        if one.secret_id is not None:
            await secrets.remove(unit, one.secret_id)
        await rows.remove(unit, one.id)
        await record(unit, asked.actor, "providers.remove", one.id)


async def _find(unit: Unit, name: str) -> Provider:
    one = await rows.by_name(unit, name)
    if one is None:
        raise Refused("not_found", "There is no provider of this name.")
    return one


OPERATIONS = (
    Operation("GET", "/providers", "List OpenID providers.", list_providers, Page[ProviderView], query=PageQuery),
    Operation("PUT", "/providers/{name}", "Add or change a provider.", put_provider, ProviderView, body=NewProvider),
    Operation("DELETE", "/providers/{name}", "Remove a provider.", remove_provider, None, status=204),
)
