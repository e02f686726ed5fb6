"""The tables of the policy gate: rules, versions of the rule set and drafts, limits, approvals, kept arguments.

Kept apart from `schema` for length alone; importing either gives the same metadata.
"""

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, Table, Text, text

from callgate.store.schema import metadata


def _tenant() -> Column[str]:
    return Column("tenant", Text, primary_key=True)


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


rules = Table(
    "rules",
    metadata,
    _tenant(),
    _id(),
    Column("content", Text, nullable=False, server_default=text("''")),  # JSON of model.rule.Rule
    Column("revision", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False, server_default=text("false")),
    Index("rules_revision", "tenant", "revision"),
)

# what a tenant has chosen; no row = the defaults
options = Table(
    "options",
    metadata,
    _tenant(),
    Column("two_person_review", Boolean, nullable=False),
    Column(
        "default_effect", Text, nullable=False, server_default=text("'allow'")
    ),  # of a trusted tool that no rule matches
    Column("keep_arguments_s", Double, nullable=False, server_default=text("0")),  # of blocked calls; 0 = not at all
)

rule_sets = Table(  # every version that was ever in force; the version is the revision of the aggregate "rules"
    "rule_sets",
    metadata,
    _tenant(),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("back_to", BigInteger),  # the version that a roll-back brought back
    Column("content", LargeBinary, nullable=False),  # zlib of the JSON of model.ruleset.RuleSet
)

rule_drafts = Table(
    "rule_drafts",
    metadata,
    _tenant(),
    Column("name", Text, primary_key=True),
    Column("base", BigInteger, nullable=False),  # version that it was made from
    Column("edition", BigInteger, nullable=False),  # rises with each change
    Column("changed", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

limit_windows = Table(  # what has been used of a limit in this window and in the one before
    "limit_windows",
    metadata,
    _tenant(),
    Column("key", Text, primary_key=True),  # keyed hash of rule and values
    Column("window", BigInteger, nullable=False),  # number of the window since 1970
    Column("used", BigInteger, nullable=False),  # millionths
    Column("before", BigInteger, nullable=False),
    Column("expires", Double, nullable=False),
    Index("limit_windows_expires", "expires"),
)

limit_slots = Table(  # calls under way that a limit counts
    "limit_slots",
    metadata,
    _tenant(),
    Column("key", Text, primary_key=True),
    Column("call", Text, primary_key=True),
    Column("replica", Text, nullable=False),
    Column("expires", Double, nullable=False),
    Index("limit_slots_expires", "expires"),
)

approvals = Table(
    "approvals",
    metadata,
    _tenant(),
    _id(),
    Column("state", Text, nullable=False),  # pending | approved | denied | expired | cancelled | used | void
    Column("bound", Text, nullable=False),  # hash of all that it is bound to
    Column("person", Text, nullable=False),
    Column("agent", Text),
    Column("client", Text),
    Column("upstream", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("args_hash", Text, nullable=False),
    Column("ruleset", BigInteger, nullable=False),
    Column("terms", Text, nullable=False),  # JSON of model.approval.Terms
    Column("call", Text, nullable=False),  # that asked for it
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("escalated", Boolean, nullable=False, server_default=text("false")),
    Column("votes", Text, nullable=False),  # JSON array of model.approval.Vote
    Column("decided", Double),
    Column("reuse_until", Double),
    Column("uses", Integer, nullable=False),
    Column("sealed", LargeBinary),  # the exact arguments, until the decision
    Index(
        "approvals_bound", "tenant", "bound", unique=True, sqlite_where=text("state IN ('pending', 'approved')"),
        postgresql_where=text("state IN ('pending', 'approved')"),
    ),
    Index("approvals_state", "tenant", "state", "expires"),
)  # fmt: skip

approval_notices = Table(  # what is to be told outside, until it was
    "approval_notices",
    metadata,
    _tenant(),
    _id(),
    Column("approval", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("due", Double, nullable=False),
    Column("tries", Integer, nullable=False),
    Index("approval_notices_due", "due"),
)

kept_arguments = Table(  # of blocked or parked calls, where the tenant chose that
    "kept_arguments",
    metadata,
    _tenant(),
    Column("call", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("expires", Double, nullable=False),
    Index("kept_arguments_expires", "expires"),
)
