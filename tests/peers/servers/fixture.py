"""The fixture upstream: an MCP server on SDK 2.3 that speaks both eras, or only the modern one.

    python fixture.py --era both|modern --transport http|stdio [--port N]

Over HTTP it serves `/mcp` on 127.0.0.1 and prints `ready http://127.0.0.1:PORT/mcp`. Over stdio it serves one
conversation. It keeps nothing and trusts everybody: it is for tests on loopback only.
"""

import argparse
import json
import socket
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import fixture_data as data
import mcp_types as types
import uvicorn
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Context = ServerRequestContext[Any, Any]
CONTENT: TypeAdapter[list[types.ContentBlock]] = TypeAdapter(list[types.ContentBlock])
UNSUPPORTED_VERSION = -32022
HEADER_MISMATCH = -32020


class Memory(EventStore):
    """Sent events, so that a client whose stream was closed can ask for the rest."""

    def __init__(self) -> None:
        self._events: list[tuple[str, types.JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if not last_event_id.isdigit() or int(last_event_id) >= len(self._events):
            return None
        start = int(last_event_id)
        stream = self._events[start][0]
        for number, (name, message) in enumerate(self._events[start + 1 :], start + 1):
            if name == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


class Fixture:
    """Handlers of the fixture. One object serves every conversation of the process."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self._extra_tool = False
        self._extra_prompt = False
        self._sessions: list[Any] = []
        self._tools: dict[str, Callable[[Context, dict[str, Any]], Awaitable[list[data.Json]]]] = {
            "test_tool_with_logging": self._logging,
            "test_logging_tool": self._one_log,
            "test_tool_with_progress": self._progress,
            "test_reconnection": self._reconnect,
            "test_trigger_tool_change": self._change_tools,
            "test_trigger_prompt_change": self._change_prompts,
            "pause": self._pause,
        }

    def server(self, *middleware: Any) -> Server[Any]:
        server: Server[Any] = Server(
            data.SERVER_NAME,
            version=data.SERVER_VERSION,
            instructions=data.INSTRUCTIONS,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
            on_subscribe_resource=self.accept,
            on_unsubscribe_resource=self.accept,
            on_subscriptions_listen=ListenHandler(self.bus),
            on_list_prompts=self.list_prompts,
            on_get_prompt=self.get_prompt,
            on_completion=self.complete,
            on_set_logging_level=self.accept,
        )
        server.add_notification_handler("notifications/initialized", types.NotificationParams, self.initialized)
        boundary = RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=data.SERVER_NAME)
        server.middleware.extend((*middleware, boundary))
        return server

    async def initialized(self, ctx: Context, params: types.NotificationParams) -> None:
        self._sessions.append(ctx.session)

    async def accept(self, ctx: Context, params: Any) -> types.EmptyResult:
        return types.EmptyResult()

    # --- tools -------------------------------------------------------------------------------------------------

    async def list_tools(self, ctx: Context, params: Any) -> types.ListToolsResult:
        tools = [*data.TOOLS, *([data.EXTRA_TOOL] if self._extra_tool else [])]
        return types.ListToolsResult(tools=[types.Tool.model_validate(tool) for tool in tools])

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        name, arguments = params.name, params.arguments or {}
        if name in data.FIXED:
            return _result(data.FIXED[name])
        if name == "test_error_handling":
            return _result([data.text("This tool intentionally returns an error for testing")], is_error=True)
        if name == "test_missing_capability":
            return _need_sampling(ctx)
        if name == "echo":
            return _echo(arguments)
        if name in data.CONVERSATIONS:
            return await self._converse(ctx, params, arguments)
        if name in self._tools:
            return _result(await self._tools[name](ctx, arguments))
        if name in ("test_x_mcp_header", "json_schema_2020_12_tool", "test_dynamic_tool"):
            return _result([data.text(json.dumps(arguments, sort_keys=True))])
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {name}")

    async def _converse(
        self, ctx: Context, params: types.CallToolRequestParams, arguments: dict[str, Any]
    ) -> types.CallToolResult | types.InputRequiredResult:
        step = data.CONVERSATIONS[params.name]
        turn = data.Turn(arguments, _answers(params), params.request_state, _capabilities(ctx))
        if params.name == "test_streaming_elicitation":
            await _report(ctx, 1, 2)
        outcome = step(turn)
        if isinstance(outcome, data.Need) and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return _input_required(outcome)
        while isinstance(outcome, data.Need):
            answers = {ask.key: await _push(ctx, ask) for ask in outcome.asks}
            outcome = step(data.Turn(arguments, answers, outcome.state, turn.capabilities))
        return _result(outcome.content, is_error=outcome.is_error)

    async def _logging(self, ctx: Context, arguments: dict[str, Any]) -> list[data.Json]:
        for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.session.send_log_message("info", message, related_request_id=ctx.request_id)
            await anyio.sleep(0.05)
        return [data.text("Three log messages were sent.")]

    async def _one_log(self, ctx: Context, arguments: dict[str, Any]) -> list[data.Json]:
        await ctx.session.send_log_message("info", "One log message", related_request_id=ctx.request_id)
        return [data.text("One log message was sent to those who want any.")]

    async def _progress(self, ctx: Context, arguments: dict[str, Any]) -> list[data.Json]:
        for done in (0, 50, 100):
            await _report(ctx, done, 100)
            await anyio.sleep(0.05)
        return [data.text("Progress was reported three times.")]

    async def _reconnect(self, ctx: Context, arguments: dict[str, Any]) -> list[data.Json]:
        if ctx.close_sse_stream is not None:
            await ctx.close_sse_stream()
        await anyio.sleep(0.1)
        return [data.text("The stream was closed and the call went on.")]

    async def _pause(self, ctx: Context, arguments: dict[str, Any]) -> list[data.Json]:
        left = min(float(arguments.get("seconds", 0)), 600.0)
        await anyio.sleep(left)
        return [data.text(f"Waited {left} seconds.")]

    async def _change_tools(self, ctx: Context, arguments: dict[str, Any]) -> list[data.Json]:
        self._extra_tool = not self._extra_tool
        await self.bus.publish(ToolsListChanged())
        await self._tell(lambda session: session.send_tool_list_changed())
        return [data.text(f"test_dynamic_tool is {'there' if self._extra_tool else 'gone'}.")]

    async def _change_prompts(self, ctx: Context, arguments: dict[str, Any]) -> list[data.Json]:
        self._extra_prompt = not self._extra_prompt
        await self.bus.publish(PromptsListChanged())
        await self._tell(lambda session: session.send_prompt_list_changed())
        return [data.text(f"test_dynamic_prompt is {'there' if self._extra_prompt else 'gone'}.")]

    async def _tell(self, send: Callable[[Any], Awaitable[None]]) -> None:
        """Tell every handshake-era conversation; one that is over is forgotten."""
        for session in list(self._sessions):
            try:
                with anyio.fail_after(1):
                    await send(session)
            except (anyio.ClosedResourceError, anyio.BrokenResourceError, TimeoutError):
                self._sessions.remove(session)

    # --- resources, prompts, completion ------------------------------------------------------------------------

    async def list_resources(self, ctx: Context, params: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[types.Resource.model_validate(one) for one in data.RESOURCES])

    async def list_templates(self, ctx: Context, params: Any) -> types.ListResourceTemplatesResult:
        templates = [types.ResourceTemplate.model_validate(one) for one in data.TEMPLATES]
        return types.ListResourceTemplatesResult(resource_templates=templates)

    async def read_resource(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        contents = data.read(params.uri)
        if contents is None:
            modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
            code = types.INVALID_PARAMS if modern else -32002
            raise MCPError(code, "Resource not found", {"uri": params.uri})
        return types.ReadResourceResult.model_validate({"contents": [contents]})

    async def list_prompts(self, ctx: Context, params: Any) -> types.ListPromptsResult:
        prompts = [*data.PROMPTS, *([data.EXTRA_PROMPT] if self._extra_prompt else [])]
        return types.ListPromptsResult(prompts=[types.Prompt.model_validate(one) for one in prompts])

    async def get_prompt(
        self, ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        if params.name == "test_input_required_result_prompt":
            return await self._prompt_with_input(ctx, params)
        messages = data.prompt(params.name, params.arguments or {})
        if messages is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        return types.GetPromptResult.model_validate({"messages": messages})

    async def _prompt_with_input(
        self, ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        outcome = data.ask_for_prompt(data.Turn(answers=_answers(params), capabilities=_capabilities(ctx)))
        if isinstance(outcome, data.Need) and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return _input_required(outcome)
        while isinstance(outcome, data.Need):
            outcome = data.ask_for_prompt(data.Turn(answers={a.key: await _push(ctx, a) for a in outcome.asks}))
        messages = [{"role": "user", "content": content} for content in outcome.content]
        return types.GetPromptResult.model_validate({"messages": messages})

    async def complete(self, ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        values = [word for word in data.COMPLETIONS if word.startswith(params.argument.value)]
        completion = {"values": values, "total": len(values), "hasMore": False}
        return types.CompleteResult.model_validate({"completion": completion})


def _result(content: list[data.Json], *, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=CONTENT.validate_python(content), is_error=is_error)


def _echo(arguments: dict[str, Any]) -> types.CallToolResult:
    said = arguments.get("text")
    if not isinstance(said, str):
        return _result([data.text("`text` must be a string")], is_error=True)
    structured = {"text": said, "length": len(said)}
    content = CONTENT.validate_python([data.text(json.dumps(structured, ensure_ascii=False))])
    return types.CallToolResult(content=content, structured_content=structured)


def _capabilities(ctx: Context) -> frozenset[str]:
    declared = ctx.session.client_capabilities
    names = ("elicitation", "sampling", "roots")
    return frozenset(name for name in names if declared is not None and getattr(declared, name) is not None)


def _need_sampling(ctx: Context) -> types.CallToolResult:
    if "sampling" not in _capabilities(ctx):
        needed: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "This tool needs sampling", needed)
    return _result([data.text("The client can sample.")])


def _answers(params: types.CallToolRequestParams | types.GetPromptRequestParams) -> data.Json:
    answers = params.input_responses or {}
    return {key: answer.model_dump(by_alias=True, mode="json") for key, answer in answers.items()}


def _input_required(need: data.Need) -> types.InputRequiredResult:
    asks = {ask.key: {"method": ask.method, "params": ask.params} for ask in need.asks}
    value = {"inputRequests": asks, **({"requestState": need.state} if need.state else {})}
    return types.InputRequiredResult.model_validate(value)


async def _push(ctx: Context, ask: data.Ask) -> data.Json:
    """Ask the client on the stream of the call (handshake era)."""
    result: types.ElicitResult | types.CreateMessageResult | types.ListRootsResult
    if ask.method == "roots/list":
        result = await ctx.session.list_roots()
    elif ask.method == "sampling/createMessage":
        messages = [types.SamplingMessage.model_validate(one) for one in ask.params["messages"]]
        result = await ctx.session.create_message(
            messages, max_tokens=ask.params["maxTokens"], related_request_id=ctx.request_id
        )
    else:
        params = ask.params
        result = await ctx.session.elicit_form(params["message"], params["requestedSchema"], ctx.request_id)
    return result.model_dump(by_alias=True, mode="json")


async def _report(ctx: Context, done: float, total: float) -> None:
    token = (ctx.meta or {}).get("progress_token")
    if token is not None:
        await ctx.session.send_progress_notification(
            token, done, total, related_request_id=None if ctx.request_id is None else str(ctx.request_id)
        )


async def refuse_handshake(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Middleware of the modern-only server over stdio."""
    if ctx.method == "initialize":
        raise MCPError(UNSUPPORTED_VERSION, "Only 2026-07-28 is spoken here", _supported(ctx.params or {}))
    return await call_next(ctx)


def _supported(params: Any) -> dict[str, Any]:
    requested = params.get("protocolVersion") if isinstance(params, dict) else None
    return {"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": requested or ""}


class ModernOnly:
    """ASGI wrapper that refuses every request of the handshake era, as a server without it does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if scope["method"] != "POST":
            return await _reply(send, 405, None)
        headers = dict(scope["headers"])
        version = headers.get(b"mcp-protocol-version", b"").decode("latin-1")
        if version and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            return await self._app(scope, receive, send)
        message = await _body(receive)
        if message.get("method") == "initialize" or version:
            detail, data_ = "Only 2026-07-28 is spoken here", _supported(message.get("params"))
            error = {"code": UNSUPPORTED_VERSION, "message": detail, "data": data_}
        else:
            error = {"code": HEADER_MISMATCH, "message": "MCP-Protocol-Version is missing"}
        return await _reply(send, 400, {"jsonrpc": "2.0", "id": message.get("id"), "error": error})


async def _body(receive: Receive) -> dict[str, Any]:
    chunks: list[bytes] = []
    more = True
    while more:
        part: Message = await receive()
        chunks.append(part.get("body", b""))
        more = part.get("more_body", False)
    with suppress(ValueError):
        value = json.loads(b"".join(chunks))
        if isinstance(value, dict):
            return value
    return {}


async def _reply(send: Send, status: int, body: Any) -> None:
    raw = b"" if body is None else json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


def serve_http(era: str, port: int) -> None:
    server = Fixture().server()
    app: ASGIApp = server.streamable_http_app(event_store=Memory(), retry_interval=200)
    listener = socket.create_server(("127.0.0.1", port))
    print(f"ready http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    if era == "modern":
        app = ModernOnly(app)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


async def serve_stdio(era: str) -> None:
    server = Fixture().server(*([refuse_handshake] if era == "modern" else []))
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def main() -> None:
    # What newer revisions deprecate is just what a peer of both eras still has to serve.
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    parser = argparse.ArgumentParser(description="MCP fixture server for tests (loopback only)")
    parser.add_argument("--era", choices=("both", "modern"), default="both")
    parser.add_argument("--transport", choices=("http", "stdio"), default="http")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    if options.transport == "http":
        serve_http(options.era, options.port)
    else:
        anyio.run(serve_stdio, options.era)


if __name__ == "__main__":
    main()
