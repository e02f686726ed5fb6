"""The control API under `/api/v1`: what people and scripts read and change, one module per resource.

`permissions` is the one table of who may do what; `operations` says what a route takes and gives; `api` puts both
together; `openapi` describes the same table. Every change and its audit event are written in one transaction.
Errors are problem documents (RFC 9457); pages are keyset pages; bodies are strict.
Fail closed: a route without a row in the table stops the start; an actor without the role is refused.
This package must never know of the MCP wire, of the path of a call, of SQL, or of how an upstream is spoken to.
"""
