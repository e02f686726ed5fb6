"""How people sign in to this gateway's pages: at their OpenID provider, with a password, with a passkey, by a link.

One file per way in; `account` is where a person keeps their own ways in. This package must never know of calls, of
OAuth clients or of upstreams. Fail closed: every way in ends in a fresh session or in a refusal that says nothing of
who exists.
"""
