"""No secret is in a repr: whatever is put into an error or a log line by mistake shows none."""

import pytest

from callgate.control.clients import ClientView
from callgate.control.connections import NewToken
from callgate.control.providers import NewProvider
from callgate.control.upstream_config import NewAuth, NewStdio, NewUpstream
from callgate.control.views import IssuedToken
from callgate.credentials import connecting
from callgate.credentials.discovery import Found
from callgate.credentials.granted import Opened
from callgate.credentials.registering import Credentials
from callgate.credentials.vendor import Server
from callgate.model.grant import GrantTokens, Held
from callgate.model.signin import LocalAccount
from callgate.signin import account, provider
from callgate.upstreams.exchange import Peer
from callgate.upstreams.ports import Credential

SECRET = "top-secret-canary"
HOLDERS = (
    ClientView("id", "c", "entered", "n", (), "none", None, None, False, None, None, SECRET),
    NewToken(SECRET),
    NewProvider("https://idp.test", "c", SECRET),
    NewAuth("shared", SECRET),
    NewStdio("program", secret_env={"KEY": SECRET}),
    NewUpstream("name", "https://shop.test", auth=NewAuth("shared", SECRET)),
    IssuedToken("tok_1", SECRET, "prs_1", None, None, None),
    connecting.Underway(Found(Server("https://idp.test"), "", ""), "c", SECRET, "https://here.test"),
    Opened(("Authorization", SECRET)),
    Credentials("c", "client_secret_basic", SECRET),
    GrantTokens(SECRET, SECRET),
    Held(SECRET, SECRET, SECRET, 0.0),
    LocalAccount("prs_1", SECRET, SECRET.encode()),
    account.Offer(SECRET, "prs_1", 0.0),
    provider.Underway("acme", SECRET, SECRET, SECRET, "/", 0.0),
    Peer("default", "prs_1", None, b"{}", ("Authorization", SECRET)),
    Credential(("Authorization", SECRET), {"KEY": SECRET}),
)


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda one: type(one).__name__)
def test_no_secret_is_in_a_repr(holder: object) -> None:
    assert SECRET not in repr(holder)
    assert SECRET not in f"{holder}"
    assert repr(holder).startswith(type(holder).__name__)
