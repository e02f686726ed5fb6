"""What this service says of itself: schemas, resource types, what it can do (RFC 7643, sections 5 to 7).

`emails` and `active` are published as required: every user has them. A request may leave them out where they are known
without it (the user name is the address; a new user is active).
"""

from functools import cached_property
from typing import Any

from scim2_models import (
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    EnterpriseUser,
    ETag,
    Extension,
    External,
    Filter,
    Group,
    Patch,
    Reference,
    Required,
    Resource,
    ResourceType,
    Schema,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    User,
)

MAX_PAGE = 200
ALWAYS_THERE = frozenset({"emails", "active"})

# what Entra and Okta send beside the specification is understood; attributes that no schema has are passed over
POLICY = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)


class Provider(ScimProvider):
    """Publishes what is always there as required, and reads requests without that."""

    @cached_property
    def schemas(self) -> tuple[Schema, ...]:
        return tuple(_published(schema) for schema in super().schemas)


def _published(schema: Schema) -> Schema:
    if schema.id != str(User.__schema__):
        return schema
    found = schema.model_copy(deep=True)
    for attribute in found.attributes or []:
        if attribute.name in ALWAYS_THERE:
            attribute.required = Required.true
            for inner in attribute.sub_attributes or []:
                inner.required = Required.true if inner.name == "value" else Required.false
    return found


def _enterprise() -> Schema:
    """The extension; of a manager, which the library has as required, identity providers send the id alone."""
    schema = EnterpriseUser.to_schema()
    for attribute in schema.attributes or []:
        for inner in attribute.sub_attributes or []:
            inner.required = Required.false
    return schema


def _config() -> ServiceProviderConfig:
    return ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=MAX_PAGE),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=True),
        etag=ETag(supported=True),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="Access token",
                description="A token of an admin, issued with `callgate tokens issue --client scim`.",
                spec_uri=Reference[External]("https://www.rfc-editor.org/info/rfc6750"),
                primary=True,
            )
        ],
    )


def provider() -> ScimProvider:
    """Users with the enterprise extension, and groups."""
    # models are made from the schemas: the library's own refuse addresses such as ana@corp.local
    models: list[type[Resource[Any] | Extension]] = [
        Resource.from_schema(User.to_schema()),
        Extension.from_schema(_enterprise()),
        Resource.from_schema(Group.to_schema()),
    ]
    types = [ResourceType.from_resource(User[EnterpriseUser]), ResourceType.from_resource(Group)]
    return Provider(models, types, _config(), POLICY)
