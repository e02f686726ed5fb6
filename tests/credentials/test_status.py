"""How an account stands, in words; and what its revocation needs."""

import msgspec
import pytest

from callgate import clock
from callgate.credentials.revoking import over, prepared
from callgate.credentials.status import connection
from callgate.model.grant import CONNECTED, NEEDS_SCOPES, OAUTH, OWN_TOKEN, REFUSED, Grant, GrantFacts
from callgate.model.offboarding import BY_HAND, NOT_POSSIBLE, PENDING
from callgate.model.upstream import Auth, Upstream

SHOP = Upstream("ups_1", "default", "shop", "http", url="https://shop.test/mcp", auth_mode="on_behalf_of")
FACTS = GrantFacts("https://vendor.test", "c1", "https://shop.test/mcp", reason="said so")
DAY = 86400.0


def grant(state: str = CONNECTED, expires: float | None = None, kind: str = OAUTH, **facts: object) -> Grant:
    now = clock.now()
    until = None if expires is None else now + expires
    return Grant(
        "default", "prs_1", "ups_1", kind, state, msgspec.structs.replace(FACTS, **facts), b"sealed", until, now, now
    )


@pytest.mark.parametrize(
    ("given", "state", "reason"),
    [
        (None, "not_connected", ""),
        (grant(), "connected", ""),
        (grant(expires=30 * DAY), "connected", ""),
        (grant(expires=DAY), "expiring", "it cannot be renewed"),
        (grant(expires=-1.0), "refused", "it is over"),
        (grant(expires=-1.0, refreshable=True), "connected", ""),
        (grant(REFUSED), "refused", "said so"),
        (grant(NEEDS_SCOPES), "needs_scopes", "said so"),
    ],
)
def test_each_state_has_a_word_and_a_reason(given: Grant | None, state: str, reason: str) -> None:
    found = connection(SHOP, given)
    assert (found.upstream, found.state, found.reason) == ("shop", state, reason)


def test_an_account_that_is_made_out_of_the_sign_in_says_so() -> None:
    shop = msgspec.structs.replace(SHOP, auth=Auth(kind="token_exchange", provider="okta"))
    assert "your sign-in at okta" in connection(shop, None).reason


def test_a_revocation_holds_nothing_in_clear_and_says_what_cannot_be_done() -> None:
    asked = grant(revocation_endpoint="https://vendor.test/revoke")
    state, answer, blob = prepared(asked, SHOP, None)
    assert (state, answer) == (PENDING, "")
    assert over(blob or b"").tokens == b"sealed"
    assert prepared(asked, None, None)[0] == NOT_POSSIBLE
    assert prepared(grant(), SHOP, None)[0] == NOT_POSSIBLE
    assert prepared(grant(kind=OWN_TOKEN), SHOP, None)[0] == BY_HAND
