"""The policy engine: rules as values, compiled to an index, evaluated per call.

Allow and deny rules on who, what, where and under which condition (CEL) exist; redaction and approvals come.
Strictest first: deny > require_approval > redact > allow > the tenant's default, which is allow for trusted tools.
It is pure: no clock, no store, no network; it must never know where a rule or a caller came from.
Fail closed: a rule that cannot be evaluated denies.
"""
