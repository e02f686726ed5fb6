#!/usr/bin/env bash
# make test-clients: real clients and servers end to end; the vendor clients are large downloads.
. "$(dirname "$0")/lib.sh"
started=$SECONDS
scripts/setup.sh dev
need_packages git procps
scripts/peers.sh all node-clients >/dev/null
.venv/bin/python -m pytest -q -n 2 --dist loadfile -m clients "$@"
say "make test-clients took $((SECONDS - started)) s"
