"""What happens to approvals beside the calls: they expire, escalate, and reviewers are told, from an outbox.

One replica at a time does it, under a lease. What could not be told is tried again with growing gaps, ten times; a
call never waits for it. Fail closed: an overdue approval counts as expired also where this has not come round to it.
"""

import asyncio
import smtplib
import ssl
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from callgate import clock
from callgate.approvals import notices
from callgate.approvals.notices import About
from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.model.approval import PENDING, Approval, Vote, eligible
from callgate.model.person import REVIEWING, Person
from callgate.net.client import Client
from callgate.net.errors import EgressError
from callgate.net.exchange import Limits
from callgate.net.policy import TargetPolicy
from callgate.store import approval_notices, approvals, definitions, leases, people
from callgate.store.approval_notices import Notice
from callgate.store.engine import Database
from callgate.store.unit import Unit
from callgate.telemetry.logs import get_logger

TRIES = 10
_LOOK_SECONDS = 5.0
_LEASE_SECONDS = 30.0
_FIRST_GAP = 2.0
_LONGEST_GAP = 600.0
_MOST_RECEIVERS = 100
_LIMITS = Limits(first_byte=20.0, total=30.0, response_bytes=64 * 1024)
_log = get_logger(__name__)


class Channels(NamedTuple):
    """Where reviewers are told; empty = not there. `mail_to` empty = everybody who may answer."""

    base_url: str
    policy: TargetPolicy
    webhook_url: str = ""
    webhook_key: str = ""
    slack_url: str = ""
    mail_url: str = ""
    mail_password: str = ""
    mail_from: str = ""
    mail_to: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The channels that are set."""
        given = {"webhook": self.webhook_url, "slack": self.slack_url, "mail": self.mail_url}
        return tuple(name for name, url in given.items() if url)


class Notifier:
    """Does that for all tenants of a store."""

    def __init__(self, db: Database, fleet: Fleet, client: Client, channels: Channels) -> None:
        self._db = db
        self._fleet = fleet
        self._client = client
        self._channels = channels

    async def keep_telling(self) -> None:
        """Look whenever an approval changes, and now and then, until cancelled."""
        wake = asyncio.Event()
        undo = self._db.listen(lambda payload: wake.set() if payload.startswith("approval:") else None)
        try:
            while True:
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await wake.wait()
                except TimeoutError:
                    pass
                wake.clear()
                try:
                    await self.look()
                except Refused as refused:
                    _log.warning("approvals could not be looked at", code=refused.code)
        finally:
            undo()

    async def look(self) -> None:
        """Once: expire, escalate, tell. Raises `Refused("store_unavailable")`."""
        async with self._db.unit(None) as unit:
            if not await leases.acquire(unit, "approvals", self._fleet.replica, _LEASE_SECONDS):
                return
        for tenant in self._fleet.revisions():
            async with self._db.unit(tenant) as unit:
                now = await unit.now()
                await approvals.expire(unit, now)
                await approvals.escalate(unit, now, self._channels.names)
                due = await approval_notices.due(unit)
            await asyncio.gather(*(self._tell(tenant, notice) for notice in due))

    async def _tell(self, tenant: str, notice: Notice) -> None:
        async with self._db.unit(tenant, write=False) as unit:
            approval = await approvals.get(unit, notice.approval)
            waits = approval is not None and approval.state == PENDING
            about = await self._about(unit, approval, notice.kind) if approval is not None and waits else None
            receivers = await self._receivers(unit, approval) if approval is not None and waits else ()
        problem = "" if about is None else await self._send(notice, about, receivers)
        async with self._db.unit(tenant) as unit:
            if not problem or notice.tries + 1 >= TRIES:
                await approval_notices.done(unit, notice.id)
            else:
                await approval_notices.later(unit, notice.id, min(_FIRST_GAP * 2**notice.tries, _LONGEST_GAP))
        if problem:
            _log.warning("a reviewer could not be told", channel=notice.channel, reason=problem, tries=notice.tries + 1)

    async def _about(self, unit: Unit, approval: Approval, kind: str) -> About:
        person = await people.get(unit, approval.person)
        tools = await definitions.names_of(unit, {approval.definition})
        link = f"{self._channels.base_url.rstrip('/')}/api/v1/approvals/{approval.id}"
        return About(
            approval, kind, approval.person if person is None else person.email,
            tools.get(approval.definition, approval.definition), link,
        )  # fmt: skip

    async def _receivers(self, unit: Unit, approval: Approval) -> tuple[str, ...]:
        """Who is written to: the addresses that the operator named, else whoever may answer."""
        if self._channels.mail_to:
            return self._channels.mail_to
        found: list[str] = []
        after: str | None = None
        while len(found) < _MOST_RECEIVERS:
            page = await people.page(unit, after, 500, active=True)
            found += [one.email for one in page if one.id != approval.person and _may_answer(one, approval)]
            if len(page) < 500:
                break
            after = page[-1].id
        return tuple(found[:_MOST_RECEIVERS])

    async def _send(self, notice: Notice, about: About, receivers: tuple[str, ...]) -> str:
        """Tell it over its channel; a sentence that says what went wrong, "" where nothing did."""
        channels = self._channels
        if notice.channel == "mail":
            return await asyncio.to_thread(self._mail, about, receivers) if receivers else ""
        if notice.channel == "slack":
            return await self._post(channels.slack_url, {"content-type": "application/json"}, notices.slack(about))
        headers, body = notices.webhook(about, channels.webhook_key, notice.id, int(clock.now()))
        return await self._post(channels.webhook_url, headers, body)

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> str:
        if not url:
            return ""  # it was taken out of the settings since
        try:
            asked = self._client.request("POST", url, headers, body, policy=self._channels.policy, limits=_LIMITS)
            async with await asked as answer:
                return "" if 200 <= answer.status < 300 else f"it answered with status {answer.status}"
        except EgressError as error:
            return str(error)

    def _mail(self, about: About, receivers: tuple[str, ...]) -> str:
        place = urlsplit(self._channels.mail_url)
        host = place.hostname or ""
        try:
            if place.scheme == "smtps":
                server: smtplib.SMTP = smtplib.SMTP_SSL(
                    host, place.port or 465, timeout=20, context=ssl.create_default_context()
                )
            else:
                server = smtplib.SMTP(host, place.port or 587, timeout=20)
            with server:
                if place.scheme == "smtp+starttls":
                    server.starttls(context=ssl.create_default_context())
                if place.username:
                    server.login(unquote(place.username), self._channels.mail_password)
                server.send_message(notices.mail(about, self._channels.mail_from, receivers))
        except (OSError, smtplib.SMTPException, ValueError) as error:
            return type(error).__name__
        return ""


def _may_answer(person: Person, approval: Approval) -> bool:
    reviewer = bool(REVIEWING & set(person.roles))
    vote = Vote(person.id, person.email, reviewer, person.teams, True, "", 0.0)
    return any(eligible(need, approval.escalated, vote) for need in approval.terms.needs)
