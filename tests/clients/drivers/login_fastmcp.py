"""fastmcp's client without a token: `login_fastmcp.py URL TOOL ARGUMENTS`; it opens BROWSER. Prints JSON."""

import asyncio
import json
import sys

from fastmcp import Client


async def main(url, tool, arguments):
    async with Client(url, auth="oauth") as client:
        tools = await client.list_tools()
        result = await client.call_tool_mcp(tool, json.loads(arguments))
    report = {
        "tools": [one.name for one in tools],
        "result": result.model_dump(by_alias=True, mode="json", exclude_none=True),
    }
    print(json.dumps(report))


asyncio.run(main(*sys.argv[1:]))
