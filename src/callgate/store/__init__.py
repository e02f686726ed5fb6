"""The store: engine, unit of work, one module per aggregate, migrations. The only package that imports SQLAlchemy.

One schema on SQLite (embedded) and PostgreSQL (many replicas); one contract suite runs on both.
Each aggregate is a module of functions `async def f(unit, …)` that take and return types of `model`.
A change and its revision are written in one transaction; listeners are woken after the commit, never with data.
Tenants are kept apart by the query and, on PostgreSQL, by row-level security under roles that own nothing.
This package must never know of HTTP, of rules, of who may do what, or see an opened secret.
Fail closed: a store that is away is `store_unavailable`; a schema from the future is refused at opening.
"""
