"""The same fixture on SDK 1.30: an upstream that knows the handshake era alone.

    python fixture_legacy.py --transport http|stdio [--port N]

Its interactive tools ask the client by server-to-client requests on the stream of the call. It has no
`requestState`, no `server/discover` and no cache fields, so it shows what a gateway makes of their absence.
"""

import argparse
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import fixture_data as data
import uvicorn
from mcp import types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import McpError
from pydantic import AnyUrl
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

NOT_FOUND = -32002
CAPABILITIES = ("elicitation", "sampling", "roots")


class Fixture:
    """Request handlers of the handshake-era fixture."""

    def __init__(self) -> None:
        self.server: Server[Any, Any] = Server(data.SERVER_NAME, data.SERVER_VERSION, data.INSTRUCTIONS)
        self._extra_tool = False
        self._extra_prompt = False
        self._sessions: list[Any] = []
        self._tools: dict[str, Callable[[dict[str, Any]], Awaitable[list[data.Json]]]] = {
            "test_tool_with_logging": self._logging,
            "test_logging_tool": self._one_log,
            "test_tool_with_progress": self._progress,
            "test_trigger_tool_change": self._change_tools,
            "test_trigger_prompt_change": self._change_prompts,
            "test_missing_capability": self._need_sampling,
            "pause": self._pause,
        }
        self.server.request_handlers.update(
            {
                types.ListToolsRequest: self.list_tools,
                types.CallToolRequest: self.call_tool,
                types.ListResourcesRequest: self.list_resources,
                types.ListResourceTemplatesRequest: self.list_templates,
                types.ReadResourceRequest: self.read_resource,
                types.SubscribeRequest: self.accept,
                types.UnsubscribeRequest: self.accept,
                types.SetLevelRequest: self.accept,
                types.ListPromptsRequest: self.list_prompts,
                types.GetPromptRequest: self.get_prompt,
                types.CompleteRequest: self.complete,
            }
        )

    @property
    def _ctx(self) -> Any:
        return self.server.request_context

    async def accept(self, request: Any) -> types.ServerResult:
        return types.ServerResult(types.EmptyResult())

    # --- tools -------------------------------------------------------------------------------------------------

    async def list_tools(self, request: types.ListToolsRequest) -> types.ServerResult:
        if self._ctx.session not in self._sessions:
            self._sessions.append(self._ctx.session)
        tools = [*data.TOOLS, *([data.EXTRA_TOOL] if self._extra_tool else [])]
        return types.ServerResult(types.ListToolsResult.model_validate({"tools": tools}))

    async def call_tool(self, request: types.CallToolRequest) -> types.ServerResult:
        name, arguments = request.params.name, request.params.arguments or {}
        if name in data.FIXED:
            return _result(data.FIXED[name])
        if name == "test_error_handling":
            return _result([data.text("This tool intentionally returns an error for testing")], is_error=True)
        if name == "echo":
            return _echo(arguments)
        if name in data.CONVERSATIONS:
            return await self._converse(name, arguments)
        if name in self._tools:
            return _result(await self._tools[name](arguments))
        if name in {tool["name"] for tool in (*data.TOOLS, data.EXTRA_TOOL)}:
            return _result([data.text(json.dumps(arguments, sort_keys=True))])
        raise _fault(types.INVALID_PARAMS, f"Unknown tool: {name}")

    async def _converse(self, name: str, arguments: dict[str, Any]) -> types.ServerResult:
        step, capabilities = data.CONVERSATIONS[name], self._capabilities()
        outcome = step(data.Turn(arguments, capabilities=capabilities))
        while isinstance(outcome, data.Need):
            missing = {ask.needs for ask in outcome.asks} - capabilities
            if missing:
                detail = f"The client has not declared: {', '.join(sorted(missing))}"
                return _result([data.text(detail)], is_error=True)
            answers = {ask.key: await self._push(ask) for ask in outcome.asks}
            outcome = step(data.Turn(arguments, answers, outcome.state, capabilities))
        return _result(outcome.content, is_error=outcome.is_error)

    def _capabilities(self) -> frozenset[str]:
        params = self._ctx.session.client_params
        declared = params.capabilities if params is not None else None
        return frozenset(name for name in CAPABILITIES if getattr(declared, name, None) is not None)

    async def _push(self, ask: data.Ask) -> data.Json:
        session, params = self._ctx.session, ask.params
        if ask.method == "roots/list":
            result = await session.list_roots()
        elif ask.method == "sampling/createMessage":
            messages = [types.SamplingMessage.model_validate(one) for one in params["messages"]]
            result = await session.create_message(
                messages, max_tokens=params["maxTokens"], related_request_id=self._ctx.request_id
            )
        else:
            result = await session.elicit_form(params["message"], params["requestedSchema"], self._ctx.request_id)
        answer: data.Json = result.model_dump(by_alias=True, mode="json")
        return answer

    async def _need_sampling(self, arguments: dict[str, Any]) -> list[data.Json]:
        if "sampling" not in self._capabilities():
            raise _fault(types.INVALID_REQUEST, "This tool needs sampling")
        return [data.text("The client can sample.")]

    async def _logging(self, arguments: dict[str, Any]) -> list[data.Json]:
        for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await self._ctx.session.send_log_message("info", message, related_request_id=self._ctx.request_id)
            await anyio.sleep(0.05)
        return [data.text("Three log messages were sent.")]

    async def _one_log(self, arguments: dict[str, Any]) -> list[data.Json]:
        await self._ctx.session.send_log_message("info", "One log message", related_request_id=self._ctx.request_id)
        return [data.text("One log message was sent.")]

    async def _progress(self, arguments: dict[str, Any]) -> list[data.Json]:
        meta, request_id = self._ctx.meta, str(self._ctx.request_id)
        for done in (0, 50, 100):
            if meta is not None and meta.progressToken is not None:
                await self._ctx.session.send_progress_notification(
                    meta.progressToken, done, 100, related_request_id=request_id
                )
            await anyio.sleep(0.05)
        return [data.text("Progress was reported three times.")]

    async def _pause(self, arguments: dict[str, Any]) -> list[data.Json]:
        seconds = min(float(arguments.get("seconds", 0)), 600.0)
        await anyio.sleep(seconds)
        return [data.text(f"Waited {seconds} seconds.")]

    async def _change_tools(self, arguments: dict[str, Any]) -> list[data.Json]:
        self._extra_tool = not self._extra_tool
        await self._tell(lambda session: session.send_tool_list_changed())
        return [data.text(f"test_dynamic_tool is {'there' if self._extra_tool else 'gone'}.")]

    async def _change_prompts(self, arguments: dict[str, Any]) -> list[data.Json]:
        self._extra_prompt = not self._extra_prompt
        await self._tell(lambda session: session.send_prompt_list_changed())
        return [data.text(f"test_dynamic_prompt is {'there' if self._extra_prompt else 'gone'}.")]

    async def _tell(self, send: Callable[[Any], Awaitable[None]]) -> None:
        """Tell every conversation that has listed tools; one that is over is forgotten."""
        for session in list(self._sessions):
            try:
                with anyio.fail_after(1):
                    await send(session)
            except (anyio.ClosedResourceError, anyio.BrokenResourceError, TimeoutError):
                self._sessions.remove(session)

    # --- resources, prompts, completion ------------------------------------------------------------------------

    async def list_resources(self, request: Any) -> types.ServerResult:
        return types.ServerResult(types.ListResourcesResult.model_validate({"resources": data.RESOURCES}))

    async def list_templates(self, request: Any) -> types.ServerResult:
        value = {"resourceTemplates": data.TEMPLATES}
        return types.ServerResult(types.ListResourceTemplatesResult.model_validate(value))

    async def read_resource(self, request: types.ReadResourceRequest) -> types.ServerResult:
        uri: AnyUrl = request.params.uri
        contents = data.read(str(uri))
        if contents is None:
            raise _fault(NOT_FOUND, "Resource not found", {"uri": str(uri)})
        return types.ServerResult(types.ReadResourceResult.model_validate({"contents": [contents]}))

    async def list_prompts(self, request: Any) -> types.ServerResult:
        prompts = [*data.PROMPTS, *([data.EXTRA_PROMPT] if self._extra_prompt else [])]
        return types.ServerResult(types.ListPromptsResult.model_validate({"prompts": prompts}))

    async def get_prompt(self, request: types.GetPromptRequest) -> types.ServerResult:
        name = request.params.name
        if name == "test_input_required_result_prompt":
            messages: list[data.Json] | None = await self._prompt_with_input()
        else:
            messages = data.prompt(name, request.params.arguments or {})
        if messages is None:
            raise _fault(types.INVALID_PARAMS, f"Unknown prompt: {name}")
        return types.ServerResult(types.GetPromptResult.model_validate({"messages": messages}))

    async def _prompt_with_input(self) -> list[data.Json]:
        if "elicitation" not in self._capabilities():
            raise _fault(types.INVALID_REQUEST, "This prompt needs elicitation")
        outcome = data.ask_for_prompt(data.Turn())
        while isinstance(outcome, data.Need):
            answers = {ask.key: await self._push(ask) for ask in outcome.asks}
            outcome = data.ask_for_prompt(data.Turn(answers=answers))
        return [{"role": "user", "content": content} for content in outcome.content]

    async def complete(self, request: types.CompleteRequest) -> types.ServerResult:
        values = [word for word in data.COMPLETIONS if word.startswith(request.params.argument.value)]
        completion = {"values": values, "total": len(values), "hasMore": False}
        return types.ServerResult(types.CompleteResult.model_validate({"completion": completion}))


def _fault(code: int, message: str, more: Any = None) -> McpError:
    return McpError(types.ErrorData(code=code, message=message, data=more))


def _result(content: list[data.Json], *, is_error: bool = False, structured: Any = None) -> types.ServerResult:
    value: dict[str, Any] = {"content": content, "isError": is_error}
    if structured is not None:
        value["structuredContent"] = structured
    return types.ServerResult(types.CallToolResult.model_validate(value))


def _echo(arguments: dict[str, Any]) -> types.ServerResult:
    said = arguments.get("text")
    if not isinstance(said, str):
        return _result([data.text("`text` must be a string")], is_error=True)
    structured = {"text": said, "length": len(said)}
    return _result([data.text(json.dumps(structured, ensure_ascii=False))], structured=structured)


NOTICES = NotificationOptions(tools_changed=True, prompts_changed=True)


def serve_http(port: int) -> None:
    server = Fixture().server
    # The SDK's own helper fixes the capabilities without listChanged, so they are set where it asks for them.
    options = server.create_initialization_options(NOTICES)
    server.create_initialization_options = lambda *_, **__: options  # type: ignore[method-assign]
    hosts = ["127.0.0.1:*", "localhost:*"]
    security = TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts])
    manager = StreamableHTTPSessionManager(server, security_settings=security)

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await manager.handle_request(scope, receive, send)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    app = Starlette(routes=[Mount("/", app=handle)], lifespan=lifespan)
    listener = socket.create_server(("127.0.0.1", port))
    print(f"ready http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


async def serve_stdio() -> None:
    server = Fixture().server
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options(NOTICES))


def main() -> None:
    parser = argparse.ArgumentParser(description="MCP fixture server of the handshake era (loopback only)")
    parser.add_argument("--transport", choices=("http", "stdio"), default="http")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the SDK reports each closed stream as an error
    if options.transport == "http":
        serve_http(options.port)
    else:
        anyio.run(serve_stdio)


if __name__ == "__main__":
    main()
