"""The only outbound HTTP client: whatever the gateway sends to another host goes through here.

Layers, from the socket up: `policy` (which addresses may be reached), `target` (what a URL may look like), `resolve`
(names to checked addresses), `trust` (TLS), `connection` (one HTTP/1.1 connection), `pool` (keep-alive, bounds,
timeouts; the callback interface of the hot path), `client` (the same for `async` code).

It must never know what MCP, a tenant, a person or a tool is, and it never decides to repeat a request: a caller
learns whether the request may have been sent and decides for itself. It follows no redirect, asks for no
compression, reads no proxy variable and keeps no cookie.
"""
