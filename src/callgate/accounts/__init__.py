"""What people and admins do with accounts at upstreams: bring a token, test, disconnect, off-board.

Above credentials, upstreams and off-boarding, for the pages and the API alike. This package must never know of HTTP, of
forms or of the machine of a call. Fail closed: a token that the upstream refuses is not kept; what is ended is told to
the vendor by the outbox, in the same transaction.
"""
