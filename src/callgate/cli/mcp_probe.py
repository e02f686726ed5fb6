"""One tools/call as a modern MCP client makes it, for `doctor`. Source: MCP 2026-07-28, streamable HTTP.

Fail closed: anything but a well-formed answer to this very call is a `Refused` with what was wrong.
"""

import asyncio
import json

from callgate.errors import Refused
from callgate.net.client import Client, Response
from callgate.net.errors import EgressError
from callgate.net.policy import TargetPolicy
from callgate.net.pool import Pool
from callgate.wire import eras, headers, jsonrpc
from callgate.wire.sse import SseParser

_MAX_ANSWER = 16 * 1024 * 1024
_ID = b"1"
CLIENT_INFO = {"name": "callgate-doctor", "version": "1"}


def call_tool(url: str, token: str, name: str, arguments: object) -> str:
    """`result` or `tool_error`. Raises `Refused` for an error or no answer."""
    return asyncio.run(_call(url, token, name, arguments))


async def _call(url: str, token: str, name: str, arguments: object) -> str:
    meta = {eras.VERSION_KEY: eras.LATEST_MODERN, eras.CAPABILITIES_KEY: {}, eras.CLIENT_INFO_KEY: CLIENT_INFO}
    params = jsonrpc.encoded({"name": name, "arguments": arguments, "_meta": meta})
    sent = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": eras.LATEST_MODERN,
        "Mcp-Method": "tools/call",
        "Mcp-Name": headers.encode_value(name),
    }
    pool = Pool()
    try:
        body = jsonrpc.request(_ID, "tools/call", params)
        response = await Client(pool).request("POST", url, sent, body, policy=TargetPolicy(allow_private=True))
        async with response:
            return _outcome(await _answer(response))
    except EgressError as error:
        raise Refused("upstream_unavailable", f"The MCP endpoint does not answer: {error}") from None
    finally:
        await pool.aclose()


async def _answer(response: Response) -> jsonrpc.Message:
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        return jsonrpc.parse(await response.read(_MAX_ANSWER))
    parser = SseParser(_MAX_ANSWER)
    async for chunk in response.chunks():
        for event in parser.feed(chunk):
            message = jsonrpc.parse(event.data)
            if message.is_response:
                return message
    raise Refused("upstream_broke_off", "The MCP endpoint ended its answer without a result.")


def _outcome(message: jsonrpc.Message) -> str:
    if message.error:
        sentence = jsonrpc.text(jsonrpc.members(message.error).get("message", b""))
        raise Refused("upstream_invalid", sentence or "The MCP endpoint answered with an error.")
    result = json.loads(bytes(message.result))
    if not result.get("isError"):
        return "result"
    texts = [block.get("text", "") for block in result.get("content", [])]
    decision = (result.get("_meta") or {}).get("callgate/decision")
    if decision:
        raise Refused("denied_by_rule", texts[0] if texts else "The call was refused.")
    return "tool_error"
