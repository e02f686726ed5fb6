"""Upstreams: the conversations with the MCP servers behind the gateway, and what they offer.

Transports (streamable HTTP of both eras, HTTP+SSE, stdio) carry raw JSON: what a server sends arrives unchanged.
`pool` finds or opens the conversation for a peer, `discover` observes what an upstream offers, `process` and `sandbox`
hold stdio children, which are hostile by assumption.
This package must never know of clients' connections, of rules or of the audit of calls.
Fail closed: a broken upstream is shown as broken; it never becomes an empty list.
"""
