"""A small world for the machine: one caller, two upstreams, a few definitions, and a sealer without secrets."""

import base64
import hashlib

from callgate.call.model import Effects, Request
from callgate.call.pipeline import Call
from callgate.call.place import Place
from callgate.fingerprints.canonical import fingerprint
from callgate.fleet.snapshot import Delta, Snapshot, apply
from callgate.model.caller import Caller
from callgate.model.definition import TRUSTED, Definition
from callgate.model.rule import Rule
from callgate.model.upstream import Upstream
from callgate.wire import eras, jsonrpc

ANA = Caller(
    tenant="default",
    person="per_ana",
    email="ana@acme.test",
    roles=("member",),
    teams=(),
    agent=None,
    client=None,
    token="tok_ana",
)
FILES = Upstream(id="ups_files", tenant="default", name="files", kind="http", url="http://127.0.0.1:1/mcp")
MAIL = Upstream(id="ups_mail", tenant="default", name="mail", kind="http", url="http://127.0.0.1:2/mcp")


class PlainSealer:
    """Text that can be opened again; a changed character is noticed, as with the real one."""

    def seal(self, data: bytes) -> str:
        return base64.urlsafe_b64encode(data + b"." + str(sum(data)).encode()).decode()

    def open(self, text: str) -> bytes | None:
        try:
            data, _, check = base64.urlsafe_b64decode(text).rpartition(b".")
        except ValueError:
            return None
        return data if check == str(sum(data)).encode() else None


def mac(tenant: str, data: bytes) -> bytes:
    return hashlib.sha256(tenant.encode() + b"\0" + data).digest()[:8]


PLACE = Place("rep_here", mac, PlainSealer(), PlainSealer())


def definition(
    upstream: Upstream, name: str, *, kind: str = "tool", status: str = TRUSTED, **more: object
) -> Definition:
    member = {"tool": "name", "prompt": "name", "resource": "uri", "template": "uriTemplate"}[kind]
    raw = jsonrpc.encoded({member: name, **more})
    seen = fingerprint(kind, name, raw)
    return Definition(
        id=f"def_{upstream.name}_{kind}_{name}",
        tenant="default",
        upstream=upstream.id,
        kind=kind,
        name=name,
        public_name=f"{upstream.name}__{name}" if kind in ("tool", "prompt") else name,
        status=status,
        raw=raw,
        core=seen.core,
        full=seen.full,
        approved_full=seen.full if status == TRUSTED else None,
    )


READ = definition(FILES, "read")
SEND = definition(MAIL, "send")
GREET = definition(FILES, "greet", kind="prompt")
NOTES = definition(FILES, "file:///notes", kind="resource")
BY_ID = definition(MAIL, "mail://{id}/body", kind="template")


def snapshot(
    *more: Definition, rules: tuple[Rule, ...] = (), upstreams: tuple[Upstream, ...] = (FILES, MAIL)
) -> Snapshot:
    delta = Delta(
        revisions={"rules": 7},
        upstreams=upstreams,
        definitions=(READ, SEND, GREET, NOTES, BY_ID, *more),
        rules=rules,
    )
    return apply(Snapshot("default"), delta)


def request(
    method: str = "tools/call", name: str = "files__read", *, era: str = eras.MODERN, **fields: object
) -> Request:
    """A request; `params` adds members."""
    params = {"name": name, **dict(fields.pop("params", {}))}  # type: ignore[call-overload]
    raw = jsonrpc.members(jsonrpc.encoded(params))
    values: dict[str, object] = {
        "id": "cal_1", "caller": ANA, "era": era, "method": method, "params": raw, "name": name, "at": 1, "size": 10,
        "capabilities": b'{"elicitation":{},"sampling":{},"roots":{}}', **fields,
    }  # fmt: skip
    return Request(**values)  # type: ignore[arg-type]


def call(asked: Request | None = None, known: Snapshot | None = None) -> Call:
    return Call(asked or request(), known or snapshot(), PLACE)


def kinds(effects: Effects) -> list[str]:
    return [type(effect).__name__ for effect in effects]
