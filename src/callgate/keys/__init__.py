"""Changing keys while everything runs: a tenant's keyset, what wraps it, and its destruction.

`rotation` makes a new key, wraps with another one, or destroys; `places` lists every sealed value of the store, so that
it can be sealed again under the new key. Replicas learn of each change by its revision (`credentials.keyring`).
Fail closed: a change is in force or it is not, whatever crashes; a key goes when nothing is sealed with it any more.
"""
