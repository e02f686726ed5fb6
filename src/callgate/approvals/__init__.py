"""Approvals: asking for them, waiting for them, telling reviewers that one waits.

The call path asks, waits and claims through `requests`; `notifying` tells the world outside, from an outbox, and writes
down what has expired. Neither knows what a rule is or how a client is held: the machine in `call` decides, the driver
in `mcp` holds. It must never put an argument anywhere but sealed into the store, and it must never let a call through:
only a claim in the store does, and one call gets it.
"""
