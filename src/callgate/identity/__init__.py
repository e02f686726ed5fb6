"""Identity: people, their access tokens, and who stands behind a token.

A token is looked up once, by its hash, and then cached under the revision of the tenant's identities; a change evicts
just whom it touches. Deactivating a person ends their tokens in the same transaction.
This package must never know of HTTP, of calls or of upstreams; the clear text of a token leaves it once, at issue.
Fail closed: unknown, revoked, expired, or a person who is inactive: refused.
"""
