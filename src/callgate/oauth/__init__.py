"""The authorization server for MCP clients: OAuth 2.1 with PKCE, one file per endpoint.

`metadata` tells clients where everything is, `register` and `clients` know who they are, `authorize` and `consent` ask
the person, `token` gives and renews, `revoke` and `introspect` take back and tell. Tokens are opaque, short-lived and
kept as hashes. This package must never know of calls, of upstreams or of how people sign in.
Fail closed: what does not fit to the letter is refused with an error of RFC 6749, and nothing is issued.
"""
