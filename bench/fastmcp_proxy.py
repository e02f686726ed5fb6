"""fastmcp's proxy in front of one URL, as its documentation starts it; runs in its own environment (py-fastmcp).

usage: fastmcp_proxy.py URL PORT
"""

import sys

from fastmcp.server import create_proxy

if __name__ == "__main__":
    # of its settings those that were fastest: no state, JSON answers, no access log
    create_proxy(sys.argv[1]).run(
        transport="http",
        host="127.0.0.1",
        port=int(sys.argv[2]),
        path="/mcp",
        stateless_http=True,
        json_response=True,
        show_banner=False,
        log_level="error",
        uvicorn_config={"access_log": False},
    )
