"""Secrets and personal data in payloads: what they are, and where they stand in a text.

Detectors are data (`rules/*.toml`), compiled once by `tables`; `engine.matches` finds them in a text, `checks` and
`checksums` tell a value from what only looks like one. It is pure: nothing is fetched, logged or kept, and a match
says where, never what. It must never know what a call, a tool or a rule is.
Fail closed: a text that cannot be searched to its end raises, so that nobody takes it for clean.
"""
