"""The composition root: puts one gateway process together, in this order, and takes it apart in the reverse one.

Data directory and its lock, keys, store, recorder, fleet, upstreams, discovery, the two applications, the listeners.
Fail closed: a part that does not start stops the start, with a sentence that says what to do; nothing listens before
everything behind it works. It holds no logic of requests: it hands parts to each other.
"""

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from callgate import __version__, ids
from callgate.accounts.accounts import Accounts
from callgate.approvals.kept import Kept
from callgate.approvals.notifying import Channels, Notifier
from callgate.approvals.requests import Approvals
from callgate.audit.opening import open_recorder
from callgate.call.admit import Slots
from callgate.call.place import Place
from callgate.control.api import ControlAPI
from callgate.control.local_socket import LocalProtocol, bind
from callgate.control.services import Services
from callgate.credentials.broker import Broker
from callgate.credentials.connecting import Connecting
from callgate.credentials.envelope import Envelope
from callgate.credentials.keyfile import secret
from callgate.credentials.keyring import Lifetimes
from callgate.credentials.kms import key_of
from callgate.credentials.revoking import Revoker
from callgate.credentials.secrets import Secrets
from callgate.errors import Refused
from callgate.fleet.counters import Counters
from callgate.fleet.mail import Mail
from callgate.fleet.supervise import supervised
from callgate.fleet.sync import Fleet
from callgate.front import Doors, Front, pages_of, scim_of, site_of
from callgate.housekeeping import keep_house
from callgate.identity.anonymous import Anonymous
from callgate.identity.tokens import TokenCache
from callgate.listening import bind_tcp, locked, prepare_data_dir, serve, url_of
from callgate.mcp.context import MCPContext
from callgate.mcp.door import Door
from callgate.mcp.endpoint import MCPEndpoint
from callgate.mcp.fast import Lane
from callgate.mcp.inflight import InFlight
from callgate.mcp.notes import StoreNotes
from callgate.model.caller import DEFAULT_TENANT
from callgate.model.upstream import Upstream
from callgate.net.client import Client
from callgate.net.policy import TargetPolicy
from callgate.net.pool import Pool
from callgate.offboarding.outbox import Outbox
from callgate.settings import Settings
from callgate.store import tenants
from callgate.store.engine import Database
from callgate.telemetry.logs import get_logger
from callgate.upstreams.discover import Discovery
from callgate.upstreams.judging import Endpoint, Judge
from callgate.upstreams.pool import Upstreams
from callgate.upstreams.ports import Credential
from callgate.upstreams.sandbox_homes import default_runtime_dir
from callgate.upstreams.sandbox_spec import ChildLimits, ChildSpec
from callgate.upstreams.scans import Scans
from callgate.upstreams.stdio import Children

log = get_logger(__name__)


class Gateway:
    """One running gateway process, or the part of it that a command without a running one needs."""

    def __init__(self, services: Services, socket_path: Path) -> None:
        self.services = services
        self.socket = socket_path  # the operator's door
        self.settings = services.settings
        self.url = services.url
        self.pid = os.getpid()

    @classmethod
    @asynccontextmanager
    async def start(cls, settings: Settings, *, tcp: bool = True) -> AsyncIterator["Gateway"]:
        """Run a gateway for as long as the context is open. Without `tcp` only the local socket is served.

        Raises `Refused`: bad_setting, data_dir_in_use, port_in_use, store_unavailable, schema_too_new, not_recorded.
        """
        async with AsyncExitStack() as stack:
            prepare_data_dir(settings.data_dir)
            stack.enter_context(locked(settings.data_dir))
            listener = stack.enter_context(bind_tcp(settings)) if tcp else None
            parts = await _parts(settings, stack, None if listener is None else url_of(settings, listener))
            services = parts.services
            control = ControlAPI(services)
            path = settings.control_socket if tcp else settings.command_socket
            local = stack.enter_context(bind(path))
            stack.callback(path.unlink, missing_ok=True)
            await serve(stack, settings, Front(services, Doors(control), local=True), local, LocalProtocol)
            if listener is not None:
                await _open_port(stack, parts, control, listener)
            stack.callback(services.stopping.set)  # called first: whoever waits is told before anything closes
            facts = {"version": __version__, "role": settings.role, "replica": services.replica}
            log.info("gateway started", url=services.url, database=services.db.dialect, **facts)
            yield cls(services, path)
            log.info("gateway stops", **facts)

    def freeze(self) -> None:
        """After the start: what is there now stays, so the collector need not look at it again."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)


# -- parts -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parts:
    """What both applications are made from."""

    services: Services
    mail: Mail
    notifier: Notifier
    client: Client


async def _parts(settings: Settings, stack: AsyncExitStack, url: str | None) -> Parts:
    replica = ids.new_id("rep")
    db = await Database.open(settings.database_url or f"sqlite:///{settings.data_dir.resolve() / 'callgate.db'}")
    stack.push_async_callback(db.close)
    async with db.unit(None) as unit:
        await tenants.ensure(unit, DEFAULT_TENANT)
    pool = Pool()
    stack.push_async_callback(pool.aclose)
    client = Client(pool)
    envelope = await _envelope(settings, db, client)
    recorder = await open_recorder(db, settings.data_dir)
    stack.push_async_callback(recorder.stop)
    key = envelope.replica_key()
    fleet = Fleet(db, replica, _info(settings, url), key.public, settings.poll_seconds)
    stack.push_async_callback(fleet.stop)
    stack.callback(fleet.subscribe(envelope.keyring.on_change))
    await fleet.start()
    mail = Mail(db, replica, key)
    tokens = TokenCache(db, fleet)
    stack.push_async_callback(tokens.close)
    secrets = Secrets(db, envelope, lambda tenant, key: fleet.view(tenant).upstreams.get(key))
    children = Children(partial(child_spec, settings=settings, port=None if url is None else urlsplit(url).port))
    outside = (client, settings.networks)
    broker = Broker(db, envelope, secrets, fleet, outside)
    stack.push_async_callback(broker.close)
    opener = partial(_credential, secrets, broker)
    upstreams = Upstreams(pool, settings.networks, settings.max_result_bytes, opener, children)
    stack.push_async_callback(upstreams.close)
    scans = Scans(db, fleet)
    discovery = Discovery(db, fleet, mail, upstreams, scans, interval=settings.refresh_seconds)
    stack.push_async_callback(discovery.stop)
    channels = _channels(settings, url)
    approvals = Approvals(db, envelope, channels.names)
    stack.push_async_callback(approvals.close)
    judge = _judge(settings, db, fleet, pool, scans.version)
    outbox = Outbox(db, Revoker(envelope, *outside))
    accounts = Accounts(db, fleet, broker, Connecting(db, envelope, secrets, outside), outbox)
    accounts.upstreams, accounts.discovery = upstreams, discovery
    upstreams.on_refused = broker.replace_for_discovery
    notifier = Notifier(db, fleet, client, channels)
    await mail.start()  # whatever the role: who asks another replica needs its answer
    stack.push_async_callback(mail.stop)
    services = Services(
        settings=settings, replica=replica, url=url, db=db, fleet=fleet, tokens=tokens, recorder=recorder,
        envelope=envelope, upstreams=upstreams, discovery=discovery, scans=scans, judge=judge, approvals=approvals,
        accounts=accounts,
        kept=Kept(db, envelope), stopping=asyncio.Event(),
    )  # fmt: skip
    return Parts(services, mail, notifier, client)


async def _envelope(settings: Settings, db: Database, client: Client) -> Envelope:
    """The keys, tried once: nothing starts whose secrets do not open."""
    outside = (client, settings.networks)
    wrapping = [key_of(uri, outside, settings.vault_token_file) for uri in settings.kms]
    lifetimes = Lifetimes(settings.kms_check_seconds, settings.kms_outage_seconds)
    envelope = Envelope.open(settings.key_path, db, wrapping, lifetimes)
    try:
        await envelope.unlock(DEFAULT_TENANT)
    except Refused as refused:
        if refused.code != "keys_destroyed":  # of this tenant; others may live on
            raise
        log.warning("the secrets of the default tenant were destroyed")
    return envelope


def _judge(settings: Settings, db: Database, fleet: Fleet, pool: Pool, rules: str) -> Judge | None:
    if settings.judge_url is None or settings.judge_model is None:
        return None
    key = "" if settings.judge_key_file is None else secret(settings.judge_key_file)
    policy = TargetPolicy(True, settings.networks)  # the operator chose the address
    return Judge(db, fleet, Client(pool), Endpoint(settings.judge_url, settings.judge_model, key, policy), rules)


def _channels(settings: Settings, url: str | None) -> Channels:
    """Where reviewers are told that a call waits."""

    def held(path: Path | None) -> str:
        return "" if path is None else secret(path)

    return Channels(
        base_url=settings.public_url or url or "",
        policy=TargetPolicy(True, settings.networks),  # the operator chose the addresses
        webhook_url=settings.approval_webhook_url or "",
        webhook_key=held(settings.approval_webhook_key_file),
        slack_url=held(settings.approval_slack_url_file),
        mail_url=settings.approval_mail_url or "",
        mail_password=held(settings.approval_mail_password_file),
        mail_from=settings.approval_mail_from or "",
        mail_to=settings.approval_mail_to,
    )


def _info(settings: Settings, url: str | None) -> Mapping[str, str]:
    facts = {"version": __version__, "host": socket.gethostname(), "pid": str(os.getpid()), "role": settings.role}
    return facts if url is None else {**facts, "url": url}


def child_spec(upstream: Upstream, variables: dict[str, str], *, settings: Settings, port: int | None) -> ChildSpec:
    """How a stdio upstream is started: hidden from it is all that is the gateway's, its port included."""
    if upstream.stdio is None:
        raise Refused("upstream_unavailable", f"{upstream.name} has no program to start.")
    data_dir, keys = settings.data_dir.resolve(), settings.key_path.resolve().parent
    stdio = upstream.stdio
    return ChildSpec(
        upstream=upstream.id,
        identity=upstream.identity,  # another program finds nothing in its home that the one before left
        command=stdio.command,
        args=stdio.args,
        env={**stdio.env, **variables},
        cwd=None if stdio.cwd is None else Path(stdio.cwd),
        runtime_dir=default_runtime_dir(data_dir),
        private_paths=(data_dir,) if keys.is_relative_to(data_dir) else (data_dir, keys),
        limits=ChildLimits(message_bytes=max(16 * 1024 * 1024, settings.max_result_bytes)),
        allow_unsandboxed=settings.allow_unsandboxed_stdio,
        denied_ports=() if port is None else (port,),
    )


async def _credential(secrets: Secrets, broker: Broker, upstream: Upstream) -> Credential:
    """What the gateway itself looks at an upstream with."""
    opened = await broker.for_discovery(upstream)
    return Credential(opened.header, await secrets.variables(upstream), opened.account)


async def _open_port(stack: AsyncExitStack, parts: Parts, control: ControlAPI, listener: socket.socket) -> None:
    """Serve what this role serves on TCP."""
    services = parts.services
    role = services.settings.role
    shown = control if role != "gateway" else None
    site = site_of(services, parts.client)
    pages = await pages_of(stack, site, services.accounts)
    if role == "control":
        await serve(
            stack, services.settings, Front(services, Doors(shown, None, pages, scim_of(services))), listener, Door
        )
        return
    context = await _mcp(stack, parts)
    endpoint = MCPEndpoint(context)
    await services.discovery.start()
    keeping = asyncio.create_task(keep_house(services.db, services.fleet, services.scans), name="housekeeping")
    stack.callback(keeping.cancel)
    telling = asyncio.create_task(parts.notifier.keep_telling(), name="approvals")
    stack.callback(telling.cancel)
    revoking = supervised("revocations", services.accounts.outbox.keep_asking)
    stack.callback(revoking.cancel)
    if services.judge is not None:
        judging = asyncio.create_task(services.judge.keep_judging(), name="judge")
        stack.callback(judging.cancel)
    lane = Lane(context, endpoint.sessions)
    await serve(
        stack,
        services.settings,
        Front(services, Doors(shown, endpoint, pages, None if shown is None else scim_of(services))),
        listener,
        partial(Door, take=lane.take),
    )


def _changed(services: Services, inflight: InFlight, tenant: str, aggregates: frozenset[str]) -> None:
    """What is under way and must not go on after a change."""
    if "rules" in aggregates:
        inflight.on_change(services.fleet.view(tenant))
    if "keys" in aggregates:
        inflight.spawn(_closed_if_destroyed(services, tenant))
    if "identity" in aggregates:
        inflight.spawn(inflight.on_people(tenant, services.tokens.ended))


async def _closed_if_destroyed(services: Services, tenant: str) -> None:
    """No conversation goes on with a secret of a tenant whose keys were destroyed."""
    try:
        await services.envelope.unlock(tenant)
    except Refused as refused:
        if refused.code == "keys_destroyed":
            for upstream in services.fleet.view(tenant).upstreams:
                await services.upstreams.forget(upstream)


async def _mcp(stack: AsyncExitStack, parts: Parts) -> MCPContext:
    services, envelope = parts.services, parts.services.envelope
    settings = services.settings
    anonymous = None
    if settings.anonymous_person is not None:
        anonymous = Anonymous(services.db, services.fleet, settings.anonymous_person)
        stack.callback(anonymous.close)
    question = envelope.sealer("server-request")
    counters = Counters(services.db, services.replica)
    stack.push_async_callback(counters.close)
    inflight = InFlight(services.replica, parts.mail, question)
    stack.callback(services.fleet.subscribe(partial(_changed, services, inflight)))
    services.tokens.on_left = lambda people: inflight.spawn(services.upstreams.forget_people(people))
    stack.push_async_callback(inflight.close)  # after the listener: calls that it had to leave are recorded as such
    return MCPContext(
        settings=settings,
        fleet=services.fleet,
        identities=services.tokens,
        recorder=services.recorder,
        upstreams=services.upstreams,
        credentials=services.accounts.broker,
        approvals=services.approvals,
        counters=counters,
        kept=services.kept,
        place=Place(
            services.replica,
            lambda tenant, data: envelope.mac(tenant, "call", data),
            envelope.sealer("request-state"),
            envelope.sealer("task"),
            lambda tenant, upstream: f"{services.address(tenant)}/connections/{upstream}",
        ),
        mail=parts.mail,
        slots=Slots(settings.max_calls_per_person),
        inflight=inflight,
        session_sealer=envelope.sealer("session"),
        cursor_sealer=envelope.sealer("cursor"),
        question_sealer=question,
        notes=StoreNotes(services.db, envelope.sealer("note")),
        stopping=services.stopping,
        anonymous=anonymous,
    )
