"""The tables of provisioning (SCIM): what identity providers wrote of people, groups and their members.

Kept apart from `schema` for length alone; importing this gives the metadata of every table.
"""

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Table, Text, text

from callgate.store.policy_schema import rules

metadata = rules.metadata  # with all tables that were made before these


def _tenant() -> Column[str]:
    return Column("tenant", Text, primary_key=True)


scim_users = Table(  # one row for a person of whom an identity provider wrote something
    "scim_users",
    metadata,
    _tenant(),
    Column("person", Text, primary_key=True),  # row id
    Column("user_name", Text),  # in the form that it is compared in; NULL once removed
    Column("external_id", Text),
    Column("document", Text, nullable=False),  # JSON of what is kept nowhere else
    Column("teams", Text, nullable=False),  # JSON array: which of the person's teams groups gave
    Column("roles", Text, nullable=False),  # JSON array: which of the person's roles groups gave
    Column("modified", Double, nullable=False),
    Column("edition", BigInteger, nullable=False),  # rises with each change
    Column("removed", Boolean, nullable=False, server_default=text("false")),
    Index("scim_users_user_name", "tenant", "user_name", unique=True),
    Index("scim_users_external_id", "tenant", "external_id"),
)

groups = Table(
    "groups",
    metadata,
    _tenant(),
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("team", Text, nullable=False),  # what its members get
    Column("external_id", Text),
    Column("created", Double, nullable=False),
    Column("modified", Double, nullable=False),
    Column("edition", BigInteger, nullable=False),
    Index("groups_team", "tenant", "team", unique=True),
)

group_members = Table(
    "group_members",
    metadata,
    _tenant(),
    Column("group", Text, primary_key=True),  # row id
    Column("person", Text, primary_key=True),  # row id
    Column("display", Text),
    Index("group_members_person", "tenant", "person"),
)
