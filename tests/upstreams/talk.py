"""A tiny handshake-era server over stdio for tests: one command a call, by the tool's name. Standard library only.

python talk.py [--silent-probe] [--die-on-probe] [--deaf]
"""

import json
import sys
from typing import Any

HELD: list[Any] = []
ASKS: dict[str, Any] = {}


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def call(id_: Any, name: str, arguments: dict[str, Any]) -> None:
    if name == "hold":
        HELD.append(id_)
    elif name == "release":
        for held in HELD:
            send(id=held, result={"released": True})
        HELD.clear()
        send(id=id_, result={})
    elif name in ("ask", "roots"):
        method = "roots/list" if name == "roots" else "elicitation/create"
        ASKS[f"q{id_}"] = id_
        send(id=f"q{id_}", method=method, params={"message": arguments.get("message")})
    elif name == "noise":
        sys.stdout.write("this is a log line\n\n{}\n[]\n")
        send(id="unknown", result={"for": "nobody"})
        send(method="notifications/message", params={"level": "info", "data": "x"})
        send(method="notifications/progress", params={"progressToken": "foreign", "progress": 1})
        send(id=id_, result={})
    elif name == "unreadable":
        unreadable(id_, arguments["where"])
    elif name == "exit":
        sys.exit(3)
    elif name == "big":
        send(id=id_, result={"text": "x" * 5_000_000})
    elif name != "silent":
        send(id=id_, result={"name": name, "seen": SEEN})


def unreadable(id_: Any, where: str) -> None:
    """An answer that is no valid JSON, with its id in front or at the end, or nested too deep."""
    head, deep = b'{"jsonrpc":"2.0","id":%d,"result":' % id_, b'{"a":' * 10_000 + b"1" + b"}" * 10_000
    texts = {
        "head": head + b'{"text":}}',
        "tail": b'{"result":{"text":,"id":[7]},"id":%d}' % id_,
        "deep": head + deep + b"}",
    }
    sys.stdout.buffer.write(texts[where] + b"\n")
    sys.stdout.buffer.flush()


SEEN: list[str] = []


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        method, id_ = message.get("method"), message.get("id")
        SEEN.append(method or "answer")
        if method == "initialize":
            if "--deaf" in sys.argv:
                continue
            info = {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": {"name": "talk"}}
            send(id=id_, result=info)
        elif method == "tools/call":
            call(id_, message["params"]["name"], message["params"].get("arguments", {}))
        elif method == "tools/list":
            send(id=id_, result={"tools": [{"name": "t"}]})
        elif method is None and id_ in ASKS:
            send(id=ASKS.pop(id_), result={"answer": message.get("result"), "error": message.get("error")})
        elif id_ is not None:
            if "--die-on-probe" in sys.argv:
                sys.exit(1)
            if "--silent-probe" not in sys.argv:
                send(id=id_, error={"code": -32601, "message": "no"})


if __name__ == "__main__":
    main()
