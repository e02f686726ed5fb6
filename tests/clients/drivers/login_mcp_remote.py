"""mcp-remote as a stdio server of Python SDK 2.3: `login_mcp_remote.py NODE PROXY URL TOOL ARGUMENTS`. It opens the
browser itself, and only it knows of the sign-in. Prints JSON."""

import asyncio
import json
import os
import sys

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client


async def main(node, proxy, url, tool, arguments):
    server = StdioServerParameters(command=node, args=[proxy, url, "--allow-http"], env=dict(os.environ))
    async with Client(stdio_client(server), mode="legacy") as client:
        tools = await client.list_tools()
        result = await client.call_tool(tool, json.loads(arguments))
    report = {
        "tools": [one.name for one in tools.tools],
        "result": result.model_dump(by_alias=True, mode="json", exclude_none=True),
    }
    print(json.dumps(report))


asyncio.run(main(*sys.argv[1:]))
