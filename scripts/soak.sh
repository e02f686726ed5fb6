#!/usr/bin/env bash
# make soak: the tests that take long (load, faults, fuzzing for minutes). Everything stays on loopback.
. "$(dirname "$0")/lib.sh"
scripts/setup.sh dev
need_packages postgresql git procps
scripts/peers.sh all >/dev/null
exec .venv/bin/python -m pytest -m soak "$@"
