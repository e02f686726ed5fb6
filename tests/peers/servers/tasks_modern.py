"""A server of 2026-07-28 with the tasks extension: the tools that the official suite's task scenarios call.

    tasks_modern.py [--port PORT]

Standard library only; prints `ready URL`. Tasks are in memory and known to everybody: whose they are is the gateway's
to judge. `GET /seen` gives the ids of all tasks.
"""

import argparse
import itertools
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

META = "io.modelcontextprotocol/"
EXTENSION = META + "tasks"
VERSION = "2026-07-28"
MISSING = {
    "code": -32021,
    "message": "The client has to declare tasks.",
    "data": {"requiredCapabilities": {"extensions": {EXTENSION: {}}}},
}
CACHE = {"ttlMs": 0, "cacheScope": "private"}
NUMBERS = itertools.count(1)
TASKS: dict[str, "Task"] = {}


class Fault(Exception):
    """A JSON-RPC error to answer with."""

    def __init__(self, code: int, message: str, data: Any = None, status: int = 400) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **({} if data is None else {"data": data})}
        self.status = status


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}], **more}


def form(message: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "confirm": {"type": "boolean"}}}
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


class Task:
    """One task; its work runs in a thread."""

    def __init__(self, work: Callable[["Task"], None]) -> None:
        self.id = f"task-{next(NUMBERS)}"
        self.created = self.updated = now()
        self.status = "working"
        self.payload: dict[str, Any] = {}
        self.pending: dict[str, Any] = {}
        self.answers: dict[str, Any] = {}
        self.changed = threading.Condition()
        TASKS[self.id] = self
        threading.Thread(target=work, args=(self,), daemon=True).start()

    def state(self) -> dict[str, Any]:
        return {
            "taskId": self.id, "status": self.status, "createdAt": self.created, "lastUpdatedAt": self.updated,
            "ttlMs": 600_000, "pollIntervalMs": 1000,
        }  # fmt: skip

    def detailed(self) -> dict[str, Any]:
        with self.changed:
            waiting = {"inputRequests": self.pending} if self.status == "input_required" else {}
            return {**self.state(), **waiting, **self.payload, "resultType": "complete"}

    def move(self, status: str, **payload: Any) -> None:
        with self.changed:
            if self.status not in ("completed", "failed", "cancelled"):
                self.status, self.payload, self.updated = status, payload, now()
            self.changed.notify_all()

    def sleep(self, seconds: float) -> bool:
        """Whether nobody cancelled meanwhile."""
        end = time.monotonic() + seconds
        with self.changed:
            while self.status == "working" and time.monotonic() < end:
                self.changed.wait(end - time.monotonic())
            return self.status == "working"

    def ask(self, questions: dict[str, Any]) -> dict[str, Any]:
        with self.changed:
            self.pending = dict(questions)
        self.move("input_required")
        with self.changed:
            while self.pending and self.status == "input_required":
                self.changed.wait(60)
        self.move("working")
        return self.answers

    def answer(self, given: dict[str, Any]) -> None:
        with self.changed:
            for key, value in given.items():
                if key in self.pending:
                    del self.pending[key]
                    self.answers[key] = value
            self.changed.notify_all()


# -- tools -----------------------------------------------------------------------------------------------------------


def compute(arguments: dict[str, Any]) -> Callable[[Task], None]:
    def work(task: Task) -> None:
        if task.sleep(float(arguments.get("seconds", 0))):
            words = "computed " + str(arguments.get("label", ""))
            task.move("completed", result=text(words + "x" * int(arguments.get("size", 0))))

    return work


def failing(_: dict[str, Any]) -> Callable[[Task], None]:
    return lambda task: task.move("completed", result=text("the job failed", isError=True))


def broken(_: dict[str, Any]) -> Callable[[Task], None]:
    return lambda task: task.move("failed", error={"code": -32603, "message": "the job crashed"})


def confirm(arguments: dict[str, Any]) -> Callable[[Task], None]:
    def work(task: Task) -> None:
        answers = task.ask({"confirm": form(f"Delete {arguments.get('filename')}?")})
        task.move("completed", result=text(f"answered {json.dumps(answers)}"))

    return work


def several(_: dict[str, Any]) -> Callable[[Task], None]:
    def work(task: Task) -> None:
        task.ask({"one": form("One?"), "two": form("Two?")})
        task.move("completed", result=text("both answered"))

    return work


JOBS = {
    "slow_compute": compute, "failing_job": failing, "protocol_error_job": broken, "confirm_delete": confirm,
    "multi_input": several,
}  # fmt: skip
TOOLS = ("greet", "test_tool_with_task", *JOBS)


def call(params: dict[str, Any], may_make: bool) -> dict[str, Any]:
    name, arguments = params["name"], params.get("arguments", {})
    if name == "greet":
        return {"resultType": "complete", **text(f"Hello, {arguments.get('name')}!")}
    if not may_make and (name != "slow_compute" or arguments.get("seconds")):
        raise Fault(MISSING["code"], MISSING["message"], MISSING["data"])  # type: ignore[arg-type]
    if name == "slow_compute" and not may_make:
        return {"resultType": "complete", **text("computed")}
    if name == "test_tool_with_task":
        given = params.get("inputResponses", {}).get("user_name")
        if given is None:
            return {"resultType": "input_required", "inputRequests": {"user_name": form("Who?")}, "requestState": "s1"}
        task = Task(lambda task: task.move("completed", result=text(f"Hello, {given['content']['name']}!")))
        return {"resultType": "task", **task.state()}
    if name not in JOBS:
        raise Fault(-32602, "There is no such tool.")
    return {"resultType": "task", **Task(JOBS[name](arguments)).state()}


def about(method: str, params: dict[str, Any]) -> dict[str, Any]:
    task = TASKS.get(params.get("taskId", ""))
    if task is None:
        raise Fault(-32602, "There is no such task.")
    if method == "tasks/get":
        return task.detailed()
    if method == "tasks/update":
        task.answer(params.get("inputResponses", {}))
    else:
        task.move("cancelled")
    return {"resultType": "complete"}


def answer(method: str, params: dict[str, Any], header: str | None) -> dict[str, Any]:
    declared = params.get("_meta", {}).get(META + "clientCapabilities", {})
    may_make = EXTENSION in declared.get("extensions", {})
    if method == "server/discover":
        offered = {"tools": {}, "extensions": {EXTENSION: {}}}
        return {"resultType": "complete", "supportedVersions": [VERSION], "capabilities": offered, **CACHE}
    if method == "tools/list":
        tools = [{"name": name, "description": name, "inputSchema": {"type": "object"}} for name in TOOLS]
        return {"resultType": "complete", "tools": tools, **CACHE}
    if method == "tools/call":
        return call(params, may_make)
    if method in ("tasks/get", "tasks/update", "tasks/cancel"):
        if not may_make:
            raise Fault(MISSING["code"], MISSING["message"], MISSING["data"])  # type: ignore[arg-type]
        if header != params.get("taskId"):
            raise Fault(-32020, "Mcp-Name does not match params.taskId.")
        return about(method, params)
    raise Fault(-32601, "This method is not offered.", status=404)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path == "/seen":
            self._send(200, sorted(TASKS))
        else:
            self._send(405, {})

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "id" not in message:
            self._send(202, {})
            return
        reply = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            if self.headers.get("mcp-method") != message["method"]:
                raise Fault(-32020, "Mcp-Method does not match the body.")
            result = answer(message["method"], message.get("params", {}), self.headers.get("mcp-name"))
            self._send(200, {**reply, "result": result})
        except Fault as fault:
            self._send(fault.status, {**reply, "error": fault.error})

    def _send(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    print(f"ready http://127.0.0.1:{server.server_port}/mcp", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
