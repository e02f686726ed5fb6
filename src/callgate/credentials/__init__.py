"""Secrets at rest and the keys they need: key file, envelope encryption, sealed tokens, replica keys.

A key file wraps one Tink keyset per tenant; secrets are sealed with that keyset, bound to tenant, purpose and place.
Sealed tokens (sessions, cursors, request state) open on every replica that has the same key file.
Opened values live for one request, are never logged and never part of a `repr`.
This package must never know of HTTP, JSON-RPC or rules, nor write a key anywhere but into the key file.
Fail closed: what does not open is refused or None; a key file that others can read stops the start.
"""
