"""park: what a call waits for, and what its agent is told meanwhile. Pure; `parking` is the part of the machine.

Sources: protocol.md §8 (how long clients hold); 2026-07-28 /basic/patterns/mrtr (an `input_required` result without
questions is a leg: the client repeats the request by itself). Fail closed: only an approval that is bound to just this
call lets it go on, and it is used once.
"""

from callgate.call import state
from callgate.call.model import Request, Target
from callgate.call.record import Mac
from callgate.errors import Refused
from callgate.model.approval import APPROVED, DENIED, EXPIRED, Approval, Ask, Need, Terms
from callgate.model.rule import Approval as Asked
from callgate.model.rule import Decision
from callgate.wire import eras, jsonrpc

MAX_LEGS = 9  # SDKs give up after ten rounds
_MAC_USE = b"arguments\0"


def ask(request: Request, target: Target, decision: Decision, mac: Mac) -> Ask:
    """What has to be approved before this call is made."""
    arguments = bytes(jsonrpc.members(target.params).get("arguments") or b"{}")
    caller, definition = request.caller, target.definition
    hidden = mac(caller.tenant, request.name.encode("utf-8", "surrogatepass")).hex()
    return Ask(
        tenant=caller.tenant,
        person=caller.person,
        agent=caller.agent,
        client=caller.client,
        upstream=target.upstream.id,
        definition=definition.id if definition is not None else f"{request.method} {hidden}",
        fingerprint=(definition.fingerprint or "") if definition is not None else "",
        args_hash=hashed(request, mac),
        ruleset=decision.ruleset,
        terms=_terms(decision),
        call=request.id,
        arguments=arguments,
    )


def hashed(request: Request, mac: Mac) -> str:
    """The keyed hash of the canonical arguments as the caller gave them, hex."""
    arguments = state.one_form(bytes(request.params.get("arguments") or b"{}"))
    return mac(request.caller.tenant, _MAC_USE + arguments).hex()


def _terms(decision: Decision) -> Terms:
    asked = [(rule, rule.approval or Asked()) for rule in decision.approvals]
    needs = [
        Need(rule.id, rule.revision, rule.title, terms.reviewers, terms.quorum, terms.escalate_to)
        for rule, terms in asked
    ]
    escalations = [terms.escalate_s for _, terms in asked if terms.escalate_s]
    return Terms(tuple(needs), min(terms.expires_s for _, terms in asked), min(escalations, default=0.0))


FOR_REVIEWER = "Waiting for a reviewer to approve this call."
FOR_ACCOUNT = "Waiting for the person to connect their account."


def progress(token: bytes, count: int, said: str) -> bytes:
    """Params of a progress notification while the call waits: it rises, and stays below what the upstream may say
    later."""
    message = jsonrpc.encoded(said)
    return b'{"progressToken":%b,"progress":%b,"message":%b}' % (token, b"%.6f" % (count / 1e6), message)


def leg(sealed: str) -> bytes:
    """The result that makes a modern client repeat the request: no questions, only a state."""
    return jsonrpc.joined({"resultType": b'"input_required"', "requestState": jsonrpc.encoded(sealed)})


def takes_legs(request: Request, done: int) -> bool:
    """Whether this client can be sent on another round after so many."""
    return request.era == eras.MODERN and request.method in eras.INPUT_METHODS and done + 1 < MAX_LEGS


def pending(approval: Approval) -> Refused:
    """What an agent is told whose client waits no longer."""
    return Refused(
        "approval_pending",
        f"A reviewer has to approve this call first ({_titles(approval)}). It waits as {approval.id}: "
        "make the same call with the same arguments again later, and it goes on once it is approved.",
        _data(approval),
    )


def refusal(approval: Approval) -> Refused:
    """What an agent is told of an approval that will not come."""
    if approval.state == DENIED:
        reasons = " ".join(vote.reason for vote in approval.votes if not vote.approve)
        return Refused(
            "approval_denied",
            f"A reviewer did not approve this call: {reasons} Do not repeat it; ask the person you work for.",
            _data(approval),
        )
    if approval.state == EXPIRED:
        sentence = f"Nobody approved this call in time ({_titles(approval)}). Call again to ask once more."
        return Refused("approval_expired", sentence, _data(approval))
    return pending(approval)


def alive(approval: Approval) -> bool:
    """Whether it may still let a call through."""
    return approval.state in ("pending", APPROVED)


def _titles(approval: Approval) -> str:
    return ", ".join(f"“{need.title}”" for need in approval.terms.needs)


def _data(approval: Approval) -> dict[str, object]:
    first = approval.terms.needs[0]
    return {"approval": approval.id, "rule": first.rule, "title": first.title}
