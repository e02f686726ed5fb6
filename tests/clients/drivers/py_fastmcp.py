"""fastmcp's client: `py_fastmcp.py URL TOKEN TOOL ARGUMENTS` prints the result as JSON. TOKEN may be empty."""

import asyncio
import json
import sys

from fastmcp import Client


async def main(url: str, token: str, tool: str, arguments: str) -> None:
    async with Client(url, auth=token or None) as client:
        tools = await client.list_tools()
        result = await client.call_tool_mcp(tool, json.loads(arguments))
        report = {
            "tools": [one.name for one in tools],
            "result": result.model_dump(by_alias=True, mode="json", exclude_none=True),
        }
    print(json.dumps(report))


asyncio.run(main(*sys.argv[1:]))
