"""Making audit events: changes by an actor, and names that must not be recorded in clear (promise 4)."""

from collections.abc import Callable

from callgate import clock, ids
from callgate.model.caller import Actor
from callgate.model.event import Change, Event, Intent, Outcome

Mac = Callable[[str, str, bytes], bytes]  # (tenant, purpose, data) → keyed hash
NAME_PURPOSE = "unknown-name"


def change(actor: Actor, action: str, subject: str, before: str = "", after: str = "") -> Change:
    """An administrative change, to be written by `store.audit.append` in the unit that makes it.

    `action` is `<resource>.<verb>` of the permission table, `subject` a row id; `before` and `after` are fingerprints,
    statuses or other enumerations, never free text.
    """
    return Change(
        id=ids.new_id("chg"), at=clock.now_us(), tenant=actor.tenant, actor=actor.id, action=action, subject=subject,
        before=before, after=after,
    )  # fmt: skip


def hidden(mac: Mac, tenant: str, name: str) -> tuple[str, int]:
    """(keyed hash in hex, length in bytes) of a name that did not come out of the catalogue; ("", 0) for none."""
    raw = name.encode("utf-8", "surrogatepass")
    return (mac(tenant, NAME_PURPOSE, raw).hex(), len(raw)) if raw else ("", 0)


def unknown_end(tenant: str, call: str) -> Outcome:
    """The outcome of a call whose gateway died with it open."""
    return Outcome(id=call, at=clock.now_us(), tenant=tenant, outcome="unknown")


def not_recorded(event: Event) -> Outcome | None:
    """What is true once the record of an event has failed, to be written when writing works again.

    Of an intent: the call was refused. Of an outcome: the end is not known. It bears the time of the event, so that
    it gives way to the event itself where that was written after all.
    """
    if isinstance(event, Intent):
        return refused_unrecorded(event)
    if isinstance(event, Outcome):
        return Outcome(id=event.id, at=event.at, tenant=event.tenant, outcome="unknown", code="not_recorded")
    return None


def refused_unrecorded(intent: Intent) -> Outcome:
    """How a call ended whose intent was not durable in time."""
    return Outcome(id=intent.id, at=intent.at, tenant=intent.tenant, outcome="refused", code="not_recorded")
