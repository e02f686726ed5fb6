"""The client side of the gateway: the MCP endpoint for every revision from 2024-11-05 to 2026-07-28.

It translates HTTP into requests for the call path and the machine's effects into HTTP, in both eras.
Sessions, cursors and ids of questions are sealed tokens, so that any replica can serve the next request.
It must never know of SQL, of how upstreams are reached, or of rules; it asks the snapshot and drives `call`.
Fail closed: host, origin, identity, headers and body are checked, in this order, before anything else happens.
Source: the MCP specification's transports, lifecycle and utilities pages of each revision.
"""
