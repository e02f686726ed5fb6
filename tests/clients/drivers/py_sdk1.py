"""Python SDK 1.30: `py_sdk1.py URL TOKEN TOOL ARGUMENTS` prints the result as JSON. TOKEN may be empty."""

import asyncio
import json
import sys

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main(url: str, token: str, tool: str, arguments: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx.AsyncClient(headers=headers, timeout=60) as http,
        streamable_http_client(url, http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        about = await session.initialize()
        tools = await session.list_tools()
        result = await session.call_tool(tool, json.loads(arguments))
        report = {
            "version": about.protocolVersion,
            "tools": [one.name for one in tools.tools],
            "result": result.model_dump(by_alias=True, mode="json", exclude_none=True),
        }
    print(json.dumps(report))


asyncio.run(main(*sys.argv[1:]))
