"""Frozen domain types that many packages share: caller, upstream, definition, rule, decision, event.

They are values: no I/O, no clock, no behaviour beyond small derived properties.
Each name is a word of the glossary and means what the glossary says.
What a type cannot express cannot be stored: audit events have no field that could hold a payload or a secret.
This package must never know of HTTP, SQL, JSON-RPC, or of how a value was obtained.
It imports nothing of Callgate but `errors`, `ids` and `clock`.
"""
