#!/usr/bin/env bash
# The official MCP suite through the gateway: prints `<revision>: <passed>/<scored>`, exits 1 below what is demanded.
. "$(dirname "$0")/lib.sh"
scripts/setup.sh dev
scripts/peers.sh py-mcp1 py-mcp2 node >/dev/null
exec .venv/bin/python -m tests.conformance.run "$@"
