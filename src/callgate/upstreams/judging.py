"""Asking the outside judge about definitions, beside everything else: off unless an operator names one.

Nothing waits for it: discovery, review and calls go on as if it were not there, and its failure is a line in the log.
What it adds are findings like others (rules `judge.*`). Fail closed: a content counts as judged only when an answer of
the right form came; what fails is asked again, an answer that cannot be read three times at most.
"""

import asyncio
from typing import NamedTuple

import msgspec

from callgate import clock
from callgate.errors import Refused
from callgate.fleet.sync import Fleet
from callgate.model.definition import Definition
from callgate.net.client import Client
from callgate.net.errors import EgressError
from callgate.net.exchange import Limits
from callgate.net.policy import TargetPolicy
from callgate.scanner.judge import PROMPT_VERSION, question, verdict
from callgate.store import judged, leases
from callgate.store.engine import Database
from callgate.store.findings import Kept
from callgate.telemetry.logs import get_logger

AT_ONCE = 4
MOST = 20  # definitions of one round
_EVERY_SECONDS = 10.0
_REST_SECONDS = 60.0  # after a failure
_LEASE_SECONDS = 600.0
_TRIES = 3
_ANSWER_BYTES = 1024 * 1024
_LIMITS = Limits(first_byte=120.0, total=180.0, response_bytes=_ANSWER_BYTES)
_log = get_logger(__name__)


class Endpoint(NamedTuple):
    """Where the judge is: the URL of its API (up to `/v1`), the name of the model, and its key, "" without one."""

    url: str
    model: str
    key: str
    policy: TargetPolicy


class Round(msgspec.Struct, frozen=True):
    """What one round of questions brought. `reason` says why not everything was answered, "" where it was."""

    asked: int = 0
    raised: tuple[Kept, ...] = ()
    reason: str = ""
    left: int = 0


class Judge:
    """The outside judge as one replica asks it."""

    def __init__(self, db: Database, fleet: Fleet, client: Client, endpoint: Endpoint, rules: str) -> None:
        self._db = db
        self._fleet = fleet
        self._client = client
        self._endpoint = endpoint
        self.mark = f"{endpoint.model} {PROMPT_VERSION} {rules}"
        self._tries: dict[tuple[str, str], int] = {}  # answers that could not be read, by definition and hash

    async def keep_judging(self) -> None:
        """Ask about whatever is new, by one replica at a time, until cancelled."""
        while True:
            rest = _EVERY_SECONDS
            try:
                if await self._is_ours():
                    for tenant in self._fleet.revisions():
                        done = await self.judge(tenant)
                        if done.reason:
                            _log.warning("the outside judge failed", tenant=tenant, reason=done.reason)
                            rest = _REST_SECONDS
            except Refused as refused:
                _log.warning("the outside judge could not be asked", code=refused.code)
            await asyncio.sleep(rest)

    async def _is_ours(self) -> bool:
        async with self._db.unit(None) as unit:
            return await leases.acquire(unit, "judge", self._fleet.replica, _LEASE_SECONDS)

    async def judge(self, tenant: str) -> Round:
        """One round: ask about some of what was not judged yet. Raises `Refused("store_unavailable")`."""
        async with self._db.unit(tenant, write=False) as unit:
            waiting = await judged.waiting(unit, self.mark, MOST + len(self._tries))
        wanted = [one for one in waiting if self._tries.get((one.id, one.full), 0) < _TRIES][:MOST]
        rounds: list[Round] = []
        for start in range(0, len(wanted), AT_ONCE):
            rounds += await asyncio.gather(*(self._one(tenant, one) for one in wanted[start : start + AT_ONCE]))
            if any(one.reason for one in rounds):
                break
        if any(one.raised for one in rounds):
            await self._fleet.refresh_now(tenant)
        async with self._db.unit(tenant, write=False) as unit:
            left = await judged.left(unit, self.mark)
        reason = next((one.reason for one in rounds if one.reason), "")
        return Round(sum(one.asked for one in rounds), tuple(k for one in rounds for k in one.raised), reason, left)

    async def _one(self, tenant: str, about: Definition) -> Round:
        try:
            answer = await self._ask(question(self._endpoint.model, about.kind, about.raw))
        except EgressError as error:
            return Round(1, reason=f"It cannot be asked: {error}")
        try:
            found = verdict(about.kind, about.raw, answer)
        except ValueError as error:
            key = (about.id, about.full)
            self._tries[key] = self._tries.get(key, 0) + 1
            return Round(1, reason=str(error))
        async with self._db.unit(tenant) as unit:
            raised = await judged.keep(unit, about, found, self.mark, clock.now())
        return Round(1, raised)

    async def _ask(self, body: bytes) -> bytes:
        """The body of the answer. Raises `EgressError`."""
        headers = {"content-type": "application/json", "accept": "application/json"}
        if self._endpoint.key:
            headers["authorization"] = f"Bearer {self._endpoint.key}"
        url = f"{self._endpoint.url.rstrip('/')}/chat/completions"
        asked = self._client.request(
            "POST", url, headers, body, policy=self._endpoint.policy, limits=_LIMITS
        )  # fmt: skip
        async with await asked as answer:
            if answer.status != 200:
                raise EgressError(f"it answered with status {answer.status}.", request_sent=True)
            return await answer.read(_ANSWER_BYTES)
