"""Resource /doctor: whether this installation is in order, check by check, each with what to do.

Looks, writes nothing but a heartbeat. A check that can not be made is a failed check, never a missing one.
"""

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from callgate import clock
from callgate.control.operations import Asked, Operation
from callgate.control.services import Services
from callgate.control.views import clean
from callgate.errors import Refused
from callgate.keys.rotation import Rotation
from callgate.model.definition import PENDING_REVIEW, TRUSTED
from callgate.store import people, revisions, tenants

_OPEN_TO_OTHERS = 0o077


class Check(msgspec.Struct, frozen=True):
    """One check. `detail` says what was found, and when it failed what to do."""

    name: str
    ok: bool
    detail: str


class Report(msgspec.Struct, frozen=True):
    """All checks; `ok` when none failed. `url` is this gateway's base URL, null where it serves no port."""

    ok: bool
    url: str | None
    checks: list[Check]


async def examine(asked: Asked[Any, None]) -> Report:
    services, tenant = asked.services, asked.tenant
    checks = [
        Check("settings", True, f"role {services.settings.role}, durability {services.settings.durability}"),
        data_dir(services.settings.data_dir),
        key_file(services.settings.key_path),
        await _tried("keys", lambda: keys(services, tenant)),
        await _tried("store", lambda: store(services, tenant)),
        audit(services),
        await _tried("people", lambda: somebody(services, tenant)),
    ]
    try:
        checks += upstreams(services, tenant)
    except Refused as refused:
        checks.append(Check("upstreams", False, refused.sentence))
    return Report(all(one.ok for one in checks), services.url, checks)


async def _tried(name: str, check: Callable[[], Awaitable[Check]]) -> Check:
    try:
        return await check()
    except Refused as refused:
        return Check(name, False, refused.sentence)


def data_dir(path: Path) -> Check:
    """The data directory belongs to this user alone."""
    return _private("data_dir", path, f"chmod 700 {path}")


def key_file(path: Path) -> Check:
    """The key file belongs to this user alone."""
    return _private("key_file", path, f"chmod 600 {path}")


def _private(name: str, path: Path, remedy: str) -> Check:
    try:
        found = path.stat()
    except OSError as error:
        return Check(name, False, f"{path} can not be read: {error.strerror}.")
    if stat.S_IMODE(found.st_mode) & _OPEN_TO_OTHERS:
        return Check(name, False, f"Others can read {path}; run: {remedy}")
    if found.st_uid != os.geteuid():
        return Check(name, False, f"{path} belongs to another user (uid {found.st_uid}).")
    return Check(name, True, str(path))


async def keys(services: Services, tenant: str) -> Check:
    """The wrapping key opens the stored secrets, and it is the one that wraps now."""
    found = await Rotation(services.db, services.envelope).status(tenant)
    if found.destroyed is not None:
        return Check("keys", False, "The secrets of this company were destroyed; none can be stored any more.")
    if found.wrapped_by and found.wrapped_by != found.wraps_now:
        return Check("keys", False, f"Wrapped by {found.wrapped_by}, not {found.wraps_now}; run: callgate keys rewrap")
    return Check("keys", True, f"wrapped by {found.wraps_now}")


async def store(services: Services, tenant: str) -> Check:
    """The store can be read and written."""
    began = clock.monotonic()
    async with services.db.unit(None) as unit:
        await tenants.ensure(unit, tenant)
    async with services.db.unit(tenant, write=False) as unit:
        newest = await revisions.of_tenant(unit)
    took = (clock.monotonic() - began) * 1000
    return Check("store", True, f"{services.db.dialect}, {sum(newest.values())} revisions, {took:.0f} ms")


def audit(services: Services) -> Check:
    """The audit can be written; without it every call is refused."""
    if services.recorder.healthy:
        return Check("audit", True, f"durability {services.settings.durability}")
    return Check("audit", False, "The audit can not be written, so every call is refused; is the disk full?")


async def somebody(services: Services, tenant: str) -> Check:
    """There is a person who can call."""
    async with services.db.unit(tenant, write=False) as unit:
        found = await people.page(unit, None, 1, active=True)
    if found:
        return Check("people", True, "at least one active person")
    return Check("people", False, "Nobody can call; add a person: callgate people add EMAIL")


def upstreams(services: Services, tenant: str) -> list[Check]:
    """Each upstream answers, and something can be called."""
    view = services.fleet.view(tenant)
    found = []
    for one in sorted(view.upstreams.values(), key=lambda upstream: upstream.name):
        if not one.enabled:
            continue
        state = view.states.get(one.id)
        name = f"upstream {one.name}"
        if state is None or state.state == "new":
            found.append(Check(name, False, f"Not looked at yet; run: callgate upstreams refresh {one.name}"))
        elif state.state == "broken":
            found.append(Check(name, False, clean(state.reason)))
        else:
            found.append(Check(name, True, f"{state.era} {state.version}"))
    if not found:
        return [Check("upstreams", False, "There are none; add one: callgate upstreams add NAME URL")]
    statuses = [tool.status for tool in view.tools.values()]
    trusted, waiting = statuses.count(TRUSTED), statuses.count(PENDING_REVIEW)
    if trusted:
        return [*found, Check("tools", True, f"{trusted} trusted, {waiting} wait for review")]
    return [*found, Check("tools", False, f"No trusted tool, {waiting} wait for review; see: callgate tools list")]


OPERATIONS = (Operation("GET", "/doctor", "Whether this installation is in order.", examine, Report),)
