"""A small gateway for the tests of isolation: it runs as whatever user it is started as, with the real `spawn`.

Reads a JSON object from its first argument: `base` (a directory of its own), `attacker`, `python`, `isolation`,
`namespaces` (False = act as if there were none), `do`. Prints one line of JSON. Standard library only, so that it also
runs in an interpreter without the project's dependencies, as a user who cannot see them.
"""

import asyncio
import dataclasses
import json
import os
import socket
import sys
from pathlib import Path

from callgate.upstreams import process, sandbox
from callgate.upstreams.process import Child, ChildSpec, Isolation, spawn
from callgate.upstreams.sandbox_launcher import descendants


def prepare(base: Path) -> Path:
    """A data directory as the gateway has it, with a key and a listening control socket."""
    data = base / "data"
    data.mkdir(mode=0o700)
    (data / "secrets").mkdir(mode=0o700)
    key = data / "secrets" / "key"
    key.write_text("SECRET-KEY-CANARY")
    key.chmod(0o600)
    return data


def limit_capabilities(given: dict) -> None:
    found = sandbox.capabilities()
    if not given["namespaces"]:
        found = dataclasses.replace(found, namespaces=False, userns=False)
    if given.get("cripple"):
        found = dataclasses.replace(found, why_no_uid="not root", landlock=0, bwrap=None)
    process.capabilities = lambda: found


def spec(given: dict, name: str, **more: object) -> ChildSpec:
    base = Path(given["base"])
    return ChildSpec(
        upstream=name,
        command=given["python"],
        args=(given["attacker"], *given.get("args", ()), str(base / "named")),
        env={"DECLARED": "yes"},
        runtime_dir=base / "run",
        private_paths=(base / "data",),
        isolation=Isolation(given["isolation"]),
        allow_unsandboxed=bool(given.get("unsandboxed")),
        read_paths=(Path(given["attacker"]).parent,),
        denied_ports=tuple(given.get("denied_ports", ())),
        **more,
    )


async def ask(child: Child, question: dict) -> dict:
    await child.send(json.dumps(question).encode())
    async for line in child.messages():
        return json.loads(line)
    raise RuntimeError("no answer: " + child.stderr_tail())


def listener(family: int, place: object) -> socket.socket:
    sock = socket.socket(family)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(place)
    sock.listen(50)
    return sock


async def attack(given: dict) -> dict:
    base = Path(given["base"])
    data = prepare(base)
    os.chdir(data)
    outside = base / "outside"
    outside.write_text("of the gateway's user")
    control = listener(socket.AF_UNIX, str(data / "control.sock"))
    guarded = listener(socket.AF_INET, ("127.0.0.1", 0))
    port = guarded.getsockname()[1]
    guarded6 = listener(socket.AF_INET6, ("::1", port))
    open_port = listener(socket.AF_INET, ("127.0.0.1", 0))
    sibling = await spawn(spec(given, "sibling", identity="somebody else"))
    sibling_pid = (await ask(sibling, {"do": "ready"}))["pid"]
    given["denied_ports"] = [port] if given["deny"] else []
    child = await spawn(spec(given, "evil"))
    homes = [path for path in (base / "run").iterdir() if path.name.startswith("sibling")]
    answer = await ask(
        child,
        {
            "data": str(data),
            "gateway": os.getpid(),
            "launcher": child._process.pid,
            "sibling": pid_of(sibling) or sibling_pid,
            "sibling_home": str(homes[0]),
            "denied_port": port if given["deny"] else 0,
            "open_port": open_port.getsockname()[1],
            "named": str(base / "named"),
            "outside": str(outside),
        },
    )
    answer |= {"isolation": child.isolation, "namespaces": child.namespaces, "note": child.note, "gateway": os.getpid()}
    answer["key"] = (data / "secrets" / "key").read_text()
    answer["uids"] = [home.lstat().st_uid for home in (base / "run").iterdir()]
    await child.stop(1)
    await sibling.stop(1)
    for sock in (control, guarded, guarded6, open_port):
        sock.close()
    return answer


def pid_of(child: Child) -> int | None:
    """The process id of the program itself as the gateway's namespace sees it: the last one below the launcher."""
    found = descendants(child._process.pid)
    return found[-1] if found else None


async def linger(given: dict) -> dict:
    """Start a child and wait to be killed."""
    prepare(Path(given["base"]))
    child = await spawn(spec(given, "lingering"))
    await ask(child, {"do": "ready"})
    print(json.dumps({"isolation": child.isolation, "namespaces": child.namespaces}), flush=True)
    await asyncio.Event().wait()
    return {}


async def outlive(given: dict) -> dict:
    """Start a child that ends by itself."""
    prepare(Path(given["base"]))
    child = await spawn(spec(given, "ending"))
    await ask(child, {})
    info = await asyncio.wait_for(child.exited, 20)
    return {"exit": str(info)}


async def offered(given: dict) -> dict:
    found = process.capabilities()
    why = {"uid": found.why_no_uid, "landlock": found.why_no_landlock, "bubblewrap": found.why_no_bubblewrap}
    return why | {"namespaces": "" if found.namespaces else "this user may make no namespaces here"}


async def refuse(given: dict) -> dict:
    prepare(Path(given["base"]))
    try:
        child = await spawn(spec(given, "refused"))
    except process.ProcessError as error:
        return {"refused": str(error)}
    await child.stop(1)
    return {"isolation": child.isolation}


def main() -> None:
    given = json.loads(sys.argv[1])
    limit_capabilities(given)
    work = {"attack": attack, "linger": linger, "refuse": refuse, "offered": offered, "outlive": outlive}[given["do"]]
    print(json.dumps(asyncio.run(work(given))), flush=True)


if __name__ == "__main__":
    main()
