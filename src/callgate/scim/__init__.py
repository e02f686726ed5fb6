"""Provisioning over SCIM 2.0 (RFC 7643, RFC 7644): identity providers write people and groups at `/scim/v2`.

`endpoint` is the door: path, token, body, errors. It loads `serving` when the first request comes; that holds the
protocol, which is scim2-server's, over `storage`, which is ours: one transaction for each request. `users` and `groups`
translate between resources and what the store keeps; `tidy` undoes what identity providers send off the specification.
Fail closed: a token that was not issued for SCIM to an active admin opens nothing here, and such a token opens nothing
else. This package must never know of SQL, of MCP, or of what a team or a role is good for.
"""
