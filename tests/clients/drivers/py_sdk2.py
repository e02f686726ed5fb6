"""Python SDK 2.3: `py_sdk2.py URL TOKEN TOOL ARGUMENTS [auto|legacy]` prints the result as JSON. TOKEN may be empty."""

import asyncio
import json
import sys

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client


async def main(url: str, token: str, tool: str, arguments: str, mode: str = "auto") -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=mode) as client:
            tools = await client.list_tools()
            result = await client.call_tool(tool, json.loads(arguments))
            report = {
                "version": client.protocol_version,
                "tools": [one.name for one in tools.tools],
                "result": result.model_dump(by_alias=True, mode="json", exclude_none=True),
            }
    print(json.dumps(report))


asyncio.run(main(*sys.argv[1:]))
