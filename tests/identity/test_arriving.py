"""What somebody's groups at their provider give and take, in the shapes in which providers send them."""

from typing import Any

import pytest

from callgate.errors import Refused
from callgate.identity import people
from callgate.identity.arriving import arrive
from callgate.model.caller import Actor
from callgate.model.signin import Provider, ProviderConfig
from callgate.store import providers, tenants
from callgate.store.engine import Database

OPERATOR = Actor("default", "operator", "operator:0", ("admin",))
CONFIG = ProviderConfig("https://idp.test", "x", domains=("acme.test",), roles={"mcp": "admin"}, teams={"mcp": "sre"})
PROVIDER = Provider("idp_1", "default", "acme", CONFIG)


async def comes(db: Database, *, signed_in: bool = True, **claims: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The roles and teams that an admin of a team has after they came with these claims; there is another admin."""
    async with db.unit(None) as unit:
        await tenants.ensure(unit, "default")
    async with db.unit("default") as unit:
        await providers.put(unit, PROVIDER)
        await people.add(unit, OPERATOR, "boss@acme.test", ("admin",))
        await people.add(unit, OPERATOR, "ana@acme.test", ("admin",), ("sre", "by-hand"))
        given = {"sub": "u1", "email": "ana@acme.test", "email_verified": True, **claims}
        person = await arrive(unit, PROVIDER, given, signed_in=signed_in)
    return person.roles, person.teams


@pytest.mark.parametrize("claims", [{"groups": []}, {"groups": ["other"]}, {}])
async def test_who_is_in_no_group_any_more_has_nothing_of_it(db: Database, claims: dict[str, Any]) -> None:
    """Okta, Entra and Keycloak leave the claim out for somebody who is in no group."""
    assert await comes(db, **claims) == (("member",), ("by-hand",))


async def test_what_is_true_may_come_as_a_text(db: Database) -> None:
    """As Apple and Cognito send it."""
    assert await comes(db, email_verified="true", groups=[]) == (("member",), ("by-hand",))
    with pytest.raises(Refused, match="does not say that your e-mail address is verified"):
        async with db.unit("default") as unit:
            await arrive(unit, PROVIDER, {"sub": "u2", "email": "x@acme.test", "email_verified": "no"}, signed_in=True)


async def test_a_group_may_come_by_itself(db: Database) -> None:
    assert await comes(db, groups="mcp") == (("admin", "member"), ("by-hand", "sre"))


async def test_where_nothing_is_said_of_groups_nothing_changes(db: Database) -> None:
    entra: dict[str, Any] = {
        "_claim_names": {"groups": "src1"},
        "_claim_sources": {"src1": {"endpoint": "https://graph.test"}},
    }
    assert await comes(db, **entra) == (("admin",), ("by-hand", "sre"))


async def test_an_assertion_need_not_speak_of_groups(db: Database) -> None:
    assert await comes(db, signed_in=False) == (("admin",), ("by-hand", "sre"))
