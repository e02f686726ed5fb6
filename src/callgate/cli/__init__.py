"""The command line: one module per command group, each a thin caller of the control API.

`main` puts the groups together; `session` finds the gateway (socket, URL or in process); `client` speaks to it;
`output` prints one JSON value or a table. `demo_server` is the small stdio upstream of `up --demo`: it lives here
because only the command line starts it; it imports nothing of Callgate and runs as a file of its own.
Exit codes: 0 done, 1 refused or failed, 2 usage. Everything but the answer goes to stderr.
This package must never open the store, a secret or an upstream by itself: what it does, the API does.
"""
