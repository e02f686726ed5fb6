"""The one table of permissions: what each route of the control API needs, and which roles have it.

Fail closed: a route that is not in the table does not exist, and `api` refuses to start when it serves one.
Paths are relative to `/api/v1`. The operator (local socket) has every permission; `OPERATOR_ONLY` are things that no
role has, checked where a body asks for them (design §4: adding a stdio upstream is running code).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from callgate.errors import Refused
from callgate.model.caller import Actor

PREFIX = "/api/v1"
MEMBER, REVIEWER, ADMIN, AUDITOR = "member", "reviewer", "admin", "auditor"
OPERATOR = "operator"

ANYONE = frozenset({MEMBER, REVIEWER, ADMIN, AUDITOR})
LOOKERS = frozenset({REVIEWER, ADMIN, AUDITOR})
REVIEWERS = frozenset({REVIEWER, ADMIN})
ADMINS = frozenset({ADMIN})
AUDITORS = frozenset({AUDITOR, ADMIN})


class Need(NamedTuple):
    """What one route needs. `roles` is None for the routes that need no identity at all."""

    permission: str
    roles: frozenset[str] | None


Route = tuple[str, str]

TABLE: Mapping[Route, Need] = MappingProxyType(
    {
        ("GET", "/openapi.json"): Need("api.describe", None),
        ("GET", "/whoami"): Need("self.read", ANYONE),
        ("GET", "/doctor"): Need("doctor.read", ADMINS),
        # upstreams
        ("GET", "/upstreams"): Need("upstreams.read", LOOKERS),
        ("POST", "/upstreams"): Need("upstreams.add", ADMINS),
        ("GET", "/upstreams/{name}"): Need("upstreams.read", LOOKERS),
        ("PATCH", "/upstreams/{name}"): Need("upstreams.change", ADMINS),
        ("DELETE", "/upstreams/{name}"): Need("upstreams.remove", ADMINS),
        ("POST", "/upstreams/{name}/refresh"): Need("upstreams.refresh", REVIEWERS),
        # tools and other definitions
        ("GET", "/tools"): Need("tools.read", LOOKERS),
        ("GET", "/tools/{name}"): Need("tools.read", LOOKERS),
        ("GET", "/tools/{name}/versions"): Need("tools.read", LOOKERS),
        ("GET", "/tools/{name}/history"): Need("tools.read", LOOKERS),
        ("GET", "/tools/{name}/diff"): Need("tools.read", LOOKERS),
        ("POST", "/tools/{name}/approve"): Need("tools.approve", REVIEWERS),
        ("POST", "/tools/approve"): Need("tools.approve", REVIEWERS),
        ("POST", "/tools/{name}/block"): Need("tools.block", REVIEWERS),
        ("GET", "/definitions"): Need("definitions.read", LOOKERS),
        ("GET", "/definitions/{id}"): Need("definitions.read", LOOKERS),
        ("GET", "/definitions/{id}/history"): Need("definitions.read", LOOKERS),
        ("GET", "/definitions/{id}/diff"): Need("definitions.read", LOOKERS),
        ("POST", "/definitions/{id}/approve"): Need("definitions.approve", REVIEWERS),
        ("POST", "/definitions/{id}/block"): Need("definitions.block", REVIEWERS),
        ("GET", "/risks"): Need("risks.read", LOOKERS),
        ("GET", "/risks/{id}"): Need("risks.read", LOOKERS),
        ("POST", "/risks/{id}/ack"): Need("risks.ack", REVIEWERS),
        ("POST", "/risks/judge"): Need("risks.judge", REVIEWERS),
        ("POST", "/risks/rescan"): Need("risks.rescan", REVIEWERS),
        # people, agents, tokens
        ("GET", "/people"): Need("people.read", LOOKERS),
        ("POST", "/people"): Need("people.add", ADMINS),
        ("GET", "/people/{email}"): Need("people.read", LOOKERS),
        ("PATCH", "/people/{email}"): Need("people.change", ADMINS),
        ("POST", "/people/{email}/deactivate"): Need("people.deactivate", ADMINS),
        ("POST", "/people/{email}/reactivate"): Need("people.reactivate", ADMINS),
        ("GET", "/agents"): Need("agents.read", LOOKERS),
        ("POST", "/agents"): Need("agents.add", ADMINS),
        ("GET", "/agents/{name}"): Need("agents.read", LOOKERS),
        ("PUT", "/agents/{name}"): Need("agents.change", ADMINS),
        ("DELETE", "/agents/{name}"): Need("agents.remove", ADMINS),
        ("GET", "/tokens"): Need("tokens.read", ADMINS),
        ("POST", "/tokens"): Need("tokens.issue", ADMINS),
        ("DELETE", "/tokens/{id}"): Need("tokens.revoke", ADMINS),
        ("POST", "/people/{email}/link"): Need("people.invite", ADMINS),
        ("GET", "/clients"): Need("clients.read", LOOKERS),
        ("POST", "/clients"): Need("clients.add", ADMINS),
        ("PATCH", "/clients/{id}"): Need("clients.change", ADMINS),
        ("DELETE", "/clients/{id}"): Need("clients.remove", ADMINS),
        ("GET", "/authorizations"): Need("authorizations.read", ADMINS),
        ("DELETE", "/authorizations/{id}"): Need("authorizations.end", ADMINS),
        ("GET", "/providers"): Need("providers.read", LOOKERS),
        ("PUT", "/providers/{name}"): Need("providers.put", ADMINS),
        ("DELETE", "/providers/{name}"): Need("providers.remove", ADMINS),
        # whose connections are meant is for the handler: one's own, or others' for admins
        ("GET", "/connections"): Need("connections.read", ANYONE),
        ("GET", "/connections/{upstream}"): Need("connections.read", ANYONE),
        ("PUT", "/connections/{upstream}/token"): Need("connections.add", ANYONE),
        ("POST", "/connections/{upstream}/test"): Need("connections.test", ANYONE),
        ("DELETE", "/connections/{upstream}"): Need("connections.end", ANYONE),
        ("GET", "/offboardings"): Need("offboardings.read", AUDITORS),
        ("GET", "/offboardings/{id}"): Need("offboardings.read", AUDITORS),
        # rules
        ("GET", "/rules"): Need("rules.read", LOOKERS),
        ("POST", "/rules"): Need("rules.add", ADMINS),
        ("GET", "/rules/{id}"): Need("rules.read", LOOKERS),
        ("PUT", "/rules/{id}"): Need("rules.change", ADMINS),
        ("DELETE", "/rules/{id}"): Need("rules.remove", ADMINS),
        ("GET", "/kills"): Need("kills.read", LOOKERS),
        ("POST", "/kills"): Need("kills.add", ADMINS),
        ("DELETE", "/kills/{id}"): Need("kills.remove", ADMINS),
        ("GET", "/policies/versions"): Need("policies.read", LOOKERS),
        ("GET", "/policies/versions/{version}"): Need("policies.read", LOOKERS),
        ("POST", "/policies/rollback"): Need("policies.rollback", ADMINS),
        ("GET", "/policies/drafts"): Need("policies.read", LOOKERS),
        ("GET", "/policies/drafts/{name}"): Need("policies.read", LOOKERS),
        ("PUT", "/policies/drafts/{name}"): Need("policies.draft", REVIEWERS),
        ("DELETE", "/policies/drafts/{name}"): Need("policies.draft", REVIEWERS),
        ("GET", "/policies/drafts/{name}/diff"): Need("policies.read", LOOKERS),
        ("POST", "/policies/drafts/{name}/publish"): Need("policies.publish", ADMINS),
        ("POST", "/policies/test"): Need("policies.test", LOOKERS),
        ("POST", "/policies/simulate"): Need("policies.simulate", LOOKERS),
        ("POST", "/policies/retest"): Need("policies.retest", REVIEWERS),
        ("POST", "/policies/preview"): Need("policies.preview", LOOKERS),
        ("GET", "/policies/lint"): Need("policies.lint", LOOKERS),
        ("POST", "/policies/explain"): Need("policies.explain", LOOKERS),
        # parked calls; who may see and answer which is for the handler (a rule can name a team of members)
        ("GET", "/approvals"): Need("approvals.read", ANYONE),
        ("GET", "/approvals/{id}"): Need("approvals.read", ANYONE),
        ("POST", "/approvals/{id}/approve"): Need("approvals.approve", ANYONE),
        ("POST", "/approvals/{id}/deny"): Need("approvals.deny", ANYONE),
        # audit, replicas, governance
        ("GET", "/audit/events"): Need("audit.read", AUDITORS),
        ("GET", "/audit/export.csv"): Need("audit.export", AUDITORS),
        ("GET", "/audit/tail"): Need("audit.read", AUDITORS),
        ("GET", "/replicas"): Need("replicas.read", LOOKERS),
        ("GET", "/options"): Need("options.read", LOOKERS),
        ("PATCH", "/options"): Need("options.change", ADMINS),
        ("GET", "/keys"): Need("keys.read", AUDITORS),
        ("POST", "/keys/rotate"): Need("keys.rotate", ADMINS),
        ("POST", "/keys/rewrap"): Need("keys.rewrap", ADMINS),
        ("POST", "/keys/destroy"): Need("keys.destroy", ADMINS),
        ("POST", "/governance/plan"): Need("governance.plan", ADMINS),
        ("POST", "/governance/apply"): Need("governance.apply", ADMINS),
        ("GET", "/governance/export"): Need("governance.export", ADMINS),
    }
)

# What no role may do, whatever route asks for it: permission → the sentence of its refusal.
OPERATOR_ONLY: Mapping[str, str] = MappingProxyType(
    {
        "upstreams.stdio": "A stdio upstream runs a program on this machine; only its operator may add or change one.",
        "upstreams.allow_private": "Only the operator of this gateway may open private addresses for an upstream.",
        "keys.everybody": "Only the operator of this gateway may wrap the keys of all tenants.",
        "keys.destroy": "Only the operator of this gateway may destroy a tenant's keys.",
        "tenants.choose": "Only the operator of this gateway may act on another tenant.",
    }
)


def allowed(actor: Actor, need: Need) -> bool:
    """Whether an actor has what a route needs."""
    return actor.kind == OPERATOR or need.roles is None or not need.roles.isdisjoint(actor.roles)


def check(actor: Actor, need: Need) -> None:
    """Raise `Refused("forbidden")` naming the permission and the roles that have it."""
    if not allowed(actor, need):
        roles = " or ".join(sorted(need.roles or ()))
        raise Refused(
            "forbidden",
            f"This needs the permission {need.permission}, which the role {roles} has.",
            {"permission": need.permission, "roles": sorted(need.roles or ())},
        )


def operator_only(actor: Actor, permission: str) -> None:
    """Raise `Refused("operator_only")` for anybody but the operator of this gateway."""
    if actor.kind != OPERATOR:
        raise Refused("operator_only", OPERATOR_ONLY[permission], {"permission": permission})
