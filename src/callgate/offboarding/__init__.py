"""When somebody leaves: one transaction that ends everything, an outbox that tells the vendors, a signed receipt.

`leave` is the transaction, whoever asks for it (CLI, API, SCIM); `outbox` asks vendors until they have answered;
`receipt` says what was ended and signs it. This package must never know of HTTP, of pages or of calls.
Fail closed: all of it or none; nothing that ended comes to life again.
"""
