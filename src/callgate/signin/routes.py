"""The paths of signing in and out, and of one's own account."""

from callgate.signin import account, links, passkeys, password, provider
from callgate.web.site import PageRoute

ROUTES = (
    PageRoute("GET", "/signin", password.page),
    PageRoute("POST", "/signin", password.submit),
    PageRoute("POST", "/signin/code", password.code),
    PageRoute("POST", "/signout", password.sign_out),
    PageRoute("GET", "/signin/link/{link}", links.page),
    PageRoute("POST", "/signin/link/{link}", links.submit),
    PageRoute("GET", "/signin/with/{provider}", provider.begin),
    PageRoute("GET", "/signin/callback", provider.callback),
    PageRoute("POST", "/signin/backchannel/{provider}", provider.back_channel, machine=True),
    PageRoute("POST", "/signin/passkey/options", passkeys.sign_in_options, script=True),
    PageRoute("POST", "/signin/passkey", passkeys.sign_in, script=True),
    PageRoute("GET", "/account", account.page),
    PageRoute("POST", "/account/password", account.password),
    PageRoute("POST", "/account/totp", account.offer_totp),
    PageRoute("POST", "/account/totp/confirm", account.take_totp),
    PageRoute("POST", "/account/totp/off", account.drop_totp),
    PageRoute("POST", "/account/passkeys/options", passkeys.options, script=True),
    PageRoute("POST", "/account/passkeys", passkeys.add, script=True),
    PageRoute("POST", "/account/passkeys/{key}/remove", account.drop_passkey),
    PageRoute("POST", "/account/sessions/end", account.sign_out_elsewhere),
)
