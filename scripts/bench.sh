#!/usr/bin/env bash
# make bench: nginx, other gateways and Callgate in one run (bench/). ARGS go to it, such as --quick.
. "$(dirname "$0")/lib.sh"
scripts/setup.sh run
need_packages gcc libc6-dev nginx-light util-linux postgresql
scripts/peers.sh bench-node py-fastmcp >/dev/null
exec .venv/bin/python -m bench "$@"
