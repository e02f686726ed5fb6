"""Approvals: one parked call and the reviewers' answers to it (design §1).

What an approval is bound to is one hash (`Ask.bound`): tenant, person, agent, definition, fingerprint, the keyed hash
of the canonical arguments, and the rules that ask for it with the revisions that they have.
"""

import hashlib

import msgspec

PENDING, APPROVED, DENIED, EXPIRED = "pending", "approved", "denied", "expired"
CANCELLED, USED, VOID = "cancelled", "used", "void"
STATES = (PENDING, APPROVED, DENIED, EXPIRED, CANCELLED, USED, VOID)


class Need(msgspec.Struct, frozen=True):
    """What one rule asks for: `quorum` different people, out of one of the teams `reviewers` where there are any."""

    rule: str
    revision: int
    title: str
    reviewers: tuple[str, ...] = ()
    quorum: int = 1
    escalate_to: tuple[str, ...] = ()


class Terms(msgspec.Struct, frozen=True):
    """All of what has to be met. Seconds; `escalate_s` 0 = never."""

    needs: tuple[Need, ...]
    expires_s: float
    escalate_s: float = 0.0


class Vote(msgspec.Struct, frozen=True):
    """One reviewer's answer. `teams` as they were then; `by` is a person's row id or `operator:<uid>`."""

    by: str
    name: str
    reviewer: bool  # whether a role makes them a reviewer of whatever names no team
    teams: tuple[str, ...]
    approve: bool
    reason: str
    at: float


class Ask(msgspec.Struct, frozen=True):
    """What a call needs approved. `arguments` is what would be forwarded: raw JSON, for reviewers alone."""

    tenant: str
    person: str
    agent: str | None
    client: str | None
    upstream: str
    definition: str
    fingerprint: str
    args_hash: str
    ruleset: int
    terms: Terms
    call: str
    arguments: bytes

    @property
    def bound(self) -> str:
        """Hex SHA-256 over everything that the approval is good for."""
        parts = [self.tenant, self.person, self.agent or "", self.definition, self.fingerprint, self.args_hash]
        parts += [f"{need.rule} {need.revision}" for need in sorted(self.terms.needs, key=lambda need: need.rule)]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class Approval(msgspec.Struct, frozen=True):
    """One approval as the store has it. Times in seconds since 1970; `expires` is the end of the waiting, and once it
    is approved the end of the time in which it can be used."""

    id: str
    tenant: str
    state: str
    bound: str
    person: str
    agent: str | None
    client: str | None
    upstream: str
    definition: str
    fingerprint: str
    args_hash: str
    ruleset: int
    terms: Terms
    call: str
    created: float
    expires: float
    escalated: bool = False
    votes: tuple[Vote, ...] = ()
    decided: float | None = None
    reuse_until: float | None = None
    uses: int = 0


def eligible(need: Need, escalated: bool, vote: Vote) -> bool:
    """Whether a vote counts for a rule: of somebody in a team that it names, or of any reviewer where it names none."""
    if vote.by.startswith("operator:") and (need.reviewers or need.quorum > 1):
        return False  # who sits at the machine is no reviewer where two, or certain people, are needed
    teams = {*need.reviewers, *(need.escalate_to if escalated else ())}
    return bool(teams & set(vote.teams)) or (not need.reviewers and vote.reviewer)


def met(approval: Approval, votes: tuple[Vote, ...]) -> bool:
    """Whether every rule has its quorum."""
    for need in approval.terms.needs:
        voters = {vote.by for vote in votes if vote.approve and eligible(need, approval.escalated, vote)}
        if len(voters) < need.quorum:
            return False
    return True
