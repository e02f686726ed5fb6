"""The MCP wire, pure and sans-I/O: envelopes, headers, both eras, event streams, tool names.

Both sides of the gateway use it: the endpoint towards clients and the transports towards upstreams.
It works on bytes and keeps what it does not understand: unknown members, number lexemes and key order survive.
It must never know of sockets, HTTP libraries, the store, callers or rules.
Fail closed: what cannot be read for certain is refused with a code of the error table.
Source: the MCP specification, revisions 2024-11-05 to 2026-07-28, and JSON-RPC 2.0.
"""
