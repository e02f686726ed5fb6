"""Fingerprints: what an upstream says of a tool, in canonical form, as two hashes; and what follows for its status.

`canonical` makes the form and the hashes, `states` the life cycle, `diff` what changed between two versions (`schemas`
and `facets` what it means, `words` the texts, `show` what a reviewer may see of them).
All of it is pure and deterministic: the same bytes give the same hash in every process, on every day.
It must never know of the store, of upstreams, of time or of who reviews.
Fail closed: what cannot be read for certain is quarantined: hashed over its raw bytes and never trustable.
Source: RFC 8785 (JSON Canonicalization Scheme), but for number lexemes, which stay as received (design §1).
"""
