"""The demo upstream: a small shop as a real MCP server over stdio, for both protocol eras. Standard library only.

Run as a file (`python -I demo_server.py`), so that it works inside the sandbox without anything installed.
Source: MCP 2026-07-28 and 2025-11-25, /basic/transports/stdio. On a line that is no request it answers with the
JSON-RPC error for it and goes on; it ends when its input ends. Orders live in memory and start anew with the process.
"""

import json
import sys
from collections.abc import Callable

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
PREFIX = "io.modelcontextprotocol/"
SERVER_INFO = {"name": "callgate-demo", "title": "Demo shop", "version": "1.0.0"}
INSTRUCTIONS = "A small shop. List the orders, read one, search the handbook. Refund only when a person asked for it."

Json = dict[str, object]

ORDERS: dict[str, Json] = {
    "A-1001": {"id": "A-1001", "customer": "Ana", "item": "Desk lamp", "cents": 4900, "status": "shipped"},
    "A-1002": {"id": "A-1002", "customer": "Ben", "item": "Notebook", "cents": 900, "status": "paid"},
    "A-1003": {
        "id": "A-1003",
        "customer": "Chi",
        "item": "Office chair",
        "cents": 18900,
        "status": "returned",
    },
}
HANDBOOK = {
    "refunds": "A refund needs a returned order. Above 100.00 a second person looks at it.",
    "shipping": "Orders that are paid before noon leave on the same day.",
    "complaints": "Listen first. Offer an exchange before a refund.",
}
ORDER_ID: Json = {"type": "string", "pattern": "^A-[0-9]{4}$", "description": "An order id such as A-1001."}
READ_ONLY: Json = {"readOnlyHint": True, "openWorldHint": False}
ORDER_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "customer": {"type": "string"},
        "item": {"type": "string"},
        "cents": {"type": "integer"},
        "status": {"type": "string"},
    },
    "required": ["id", "customer", "item", "cents", "status"],
}


class ToolError(Exception):
    """A sentence for the model: becomes a result with `isError: true`."""


class RpcError(Exception):
    """A protocol fault: `args` are the JSON-RPC code, the message and the data (or None)."""


Emit = Callable[[Json], None]
Progress = Callable[[int, int], None]


def list_orders(_arguments: Json, _progress: Progress) -> Json:
    rows = list(ORDERS.values())
    lines = [f"{row['id']}  {row['item']}  {row['status']}" for row in rows]
    return {"content": [_text("\n".join(lines))], "structuredContent": {"orders": rows}}


def read_order(arguments: Json, _progress: Progress) -> Json:
    row = _order(arguments)
    return {"content": [_text(json.dumps(row))], "structuredContent": row}


def refund_order(arguments: Json, _progress: Progress) -> Json:
    row = _order(arguments)
    if row["status"] == "refunded":
        raise ToolError(f"Order {row['id']} is refunded already.")
    row["status"] = "refunded"
    return {"content": [_text(f"Order {row['id']} is refunded.")], "structuredContent": row}


def search_handbook(arguments: Json, _progress: Progress) -> Json:
    query = _required(arguments, "query").lower()
    found = [f"{name}: {text}" for name, text in HANDBOOK.items() if query in f"{name} {text}".lower()]
    return {"content": [_text("\n".join(found) or "Nothing in the handbook says so.")]}


def count_stock(arguments: Json, progress: Progress) -> Json:
    shelves = arguments.get("shelves", 3)
    if not isinstance(shelves, int) or isinstance(shelves, bool) or not 1 <= shelves <= 20:
        raise ToolError("shelves must be a whole number from 1 to 20.")
    for shelf in range(1, shelves + 1):
        progress(shelf, shelves)
    return {"content": [_text(f"{shelves} shelves counted, {shelves * 7} things in stock.")]}


def _tool(name: str, title: str, description: str, properties: Json, **more: object) -> Json:
    required = [key for key in properties if key != "shelves"]
    schema: Json = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return {"name": name, "title": title, "description": description, "inputSchema": schema, **more}


TOOLS: list[Json] = [
    _tool(
        "list_orders",
        "List orders",
        "List all orders of the shop with their status.",
        {},
        annotations=READ_ONLY,
        outputSchema={
            "type": "object",
            "properties": {"orders": {"type": "array", "items": ORDER_SCHEMA}},
            "required": ["orders"],
        },
    ),
    _tool(
        "read_order",
        "Read an order",
        "Read one order by its id.",
        {"order_id": ORDER_ID},
        annotations=READ_ONLY,
        outputSchema=ORDER_SCHEMA,
    ),
    _tool(
        "refund_order",
        "Refund an order",
        "Pay the money of one order back to the customer.",
        {"order_id": ORDER_ID},
        annotations={"readOnlyHint": False, "destructiveHint": True, "openWorldHint": False},
        outputSchema=ORDER_SCHEMA,
    ),
    _tool(
        "search_handbook",
        "Search the handbook",
        "Search the shop's handbook for a word.",
        {"query": {"type": "string", "description": "A word such as refunds."}},
        annotations=READ_ONLY,
    ),
    _tool(
        "count_stock",
        "Count the stock",
        "Count the stock shelf by shelf; reports progress.",
        {"shelves": {"type": "integer", "minimum": 1, "maximum": 20}},
        annotations=READ_ONLY,
    ),
]
HANDLERS: dict[str, Callable[[Json, Progress], Json]] = {
    "list_orders": list_orders,
    "read_order": read_order,
    "refund_order": refund_order,
    "search_handbook": search_handbook,
    "count_stock": count_stock,
}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _required(arguments: Json, name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise ToolError(f"The argument {name} is missing.")
    return value


def _order(arguments: Json) -> Json:
    order_id = _required(arguments, "order_id")
    if order_id not in ORDERS:
        raise ToolError("There is no order of this id; list_orders shows all of them.")
    return ORDERS[order_id]


def _object(value: object, what: str) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RpcError(-32602, f"{what} must be an object.", None)
    return value


def call_tool(params: Json, emit: Emit) -> Json:
    """tools/call: run one tool; its own refusals are results with `isError: true`."""
    name = params.get("name")
    handler = HANDLERS.get(name) if isinstance(name, str) else None
    if handler is None:
        raise RpcError(-32602, "Unknown tool.", None)
    token = _object(params.get("_meta"), "_meta").get("progressToken")

    def progress(done: int, total: int) -> None:
        if token is not None:
            values: Json = {"progressToken": token, "progress": done, "total": total}
            emit({"jsonrpc": "2.0", "method": "notifications/progress", "params": values})

    try:
        return handler(_object(params.get("arguments"), "arguments"), progress)
    except ToolError as error:
        return {"content": [_text(str(error))], "isError": True}


def initialize(params: Json) -> Json:
    """The handshake of the legacy era."""
    wanted = params.get("protocolVersion")
    return {
        "protocolVersion": wanted if wanted in LEGACY else LEGACY[0],
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": SERVER_INFO,
        "instructions": INSTRUCTIONS,
    }


def discover() -> Json:
    """server/discover of the modern era."""
    return {
        "supportedVersions": [MODERN],
        "capabilities": {"tools": {"listChanged": False}},
        "instructions": INSTRUCTIONS,
        "ttlMs": 60000,
        "cacheScope": "public",
    }


def modern(method: str, params: Json, meta: Json, emit: Emit) -> Json:
    """One request of the modern era: checks the envelope, stamps the result."""
    version = meta.get(PREFIX + "protocolVersion")
    if version != MODERN:
        raise RpcError(-32022, "Unsupported protocol version.", {"supported": [MODERN], "requested": version})
    if not isinstance(meta.get(PREFIX + "clientCapabilities"), dict):
        raise RpcError(-32602, "clientCapabilities are missing in _meta.", None)
    if method == "server/discover":
        result = discover()
    elif method == "tools/list":
        result = {"tools": TOOLS, "ttlMs": 60000, "cacheScope": "public"}
    elif method == "tools/call":
        result = call_tool(params, emit)
    else:
        raise RpcError(-32601, "Method not found.", None)
    return {"resultType": "complete", **result, "_meta": {PREFIX + "serverInfo": SERVER_INFO}}


def legacy(method: str, params: Json, emit: Emit) -> Json:
    """One request of the handshake era."""
    if method == "initialize":
        return initialize(params)
    if method == "ping":
        return {}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return call_tool(params, emit)
    raise RpcError(-32601, "Method not found.", None)


def answer(line: str, emit: Emit) -> None:
    """Answer one line; notifications get no answer."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        emit({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error."}})
        return
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        emit({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "Invalid request."}})
        return
    if "id" not in message:
        return
    reply: Json = {"jsonrpc": "2.0", "id": message["id"]}
    try:
        params = _object(message.get("params"), "params")
        meta = _object(params.get("_meta"), "_meta")
        is_modern = message["method"] == "server/discover" or PREFIX + "protocolVersion" in meta
        method = message["method"]
        reply["result"] = modern(method, params, meta, emit) if is_modern else legacy(method, params, emit)
    except RpcError as error:
        code, text, data = error.args
        reply["error"] = (
            {"code": code, "message": text} if data is None else {"code": code, "message": text, "data": data}
        )
    emit(reply)


def main() -> None:
    """Serve until the input ends."""

    def emit(message: Json) -> None:
        sys.stdout.write(json.dumps(message, ensure_ascii=False, separators=(",", ":")) + "\n")
        sys.stdout.flush()

    for line in sys.stdin:
        if line.strip():
            answer(line, emit)


if __name__ == "__main__":
    main()
