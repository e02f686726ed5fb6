"""The fleet: what each replica knows, how a change reaches all of them, and how they talk to each other.

A snapshot is immutable and swapped whole; deltas rebuild only the maps they touch. Wake-ups make propagation quick, a
version poll makes it certain. Mail between replicas is sealed to the receiver, because it is payload.
This package must never know of clients, of upstream conversations or of how a call is decided.
Fail closed: a replica that cannot reach the store serves lists and identity for 25 s more, then nothing.
"""
