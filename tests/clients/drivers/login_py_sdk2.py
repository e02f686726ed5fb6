"""Python SDK 2.3 without a token: `login_py_sdk2.py URL BROWSER TOOL ARGUMENTS PAUSE [DOCUMENT]` signs in, calls,
waits PAUSE seconds, and calls again in the same session. BROWSER is the program that opens pages. Prints JSON."""

import asyncio
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata


class Kept:
    """What a client keeps between runs, here in memory."""

    tokens = None
    info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.info

    async def set_client_info(self, info):
        self.info = info


class Back:
    """The loopback address that the browser is sent back to."""

    def __init__(self):
        found = self.found = {}
        self.came = threading.Event()
        came = self.came

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                found.update({key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()})
                self.send_response(200)
                self.end_headers()
                came.set()

            def log_message(self, *_):
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


async def main(url, browser, tool, arguments, pause, document=None):
    back, opened = Back(), []
    redirect = f"http://localhost:{back.server.server_port}/callback"

    async def show(address):
        opened.append(address)
        back.came.clear()
        await asyncio.to_thread(subprocess.run, [browser, address], check=True)

    async def answered():
        await asyncio.to_thread(back.came.wait, 30)
        return AuthorizationCodeResult(
            code=back.found["code"], state=back.found.get("state"), iss=back.found.get("iss")
        )

    metadata = OAuthClientMetadata(
        client_name="Python SDK", redirect_uris=[redirect], token_endpoint_auth_method="none"
    )
    kept = Kept()
    more = {"client_metadata_url": document} if document else {}
    auth = OAuthClientProvider(url, metadata, kept, show, answered, **more)
    async with (
        httpx2.AsyncClient(auth=auth, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        tools = await client.list_tools()
        first = await client.call_tool(tool, json.loads(arguments))
        before = kept.tokens.access_token
        await asyncio.sleep(float(pause))
        second = await client.call_tool(tool, json.loads(arguments))
    report = {
        "tools": [one.name for one in tools.tools],
        "result": [one.model_dump(by_alias=True, mode="json", exclude_none=True) for one in (first, second)],
        "opened": len(opened),
        "renewed": kept.tokens.access_token != before,
        "client": kept.info.client_id,
    }
    print(json.dumps(report))


asyncio.run(main(*sys.argv[1:]))
