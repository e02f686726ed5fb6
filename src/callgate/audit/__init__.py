"""The audit: durable records of calls and changes, before the upstream and before the answer.

`write` is the hot path: encode, append, return; a group is synced at once and its callbacks come once per group.
Embedded: an append-only journal per process, loaded into SQLite behind the calls and replayed at the next start. The
event loop writes it and the kernel syncs it; only what may block (making, cutting, loading files) has threads.
PostgreSQL: the same groups straight into the database, under a role that can insert and nothing else.
This package must never know of HTTP or JSON-RPC, nor see an argument, a result, a header or a secret.
Fail closed: while nothing durable can be written, `healthy` is False and every record is refused at once.
"""
