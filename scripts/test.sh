#!/usr/bin/env bash
# make test: set-up, lint, tests with the coverage gate, conformance. With arguments: only pytest, with these arguments.
. "$(dirname "$0")/lib.sh"
started=$SECONDS
scripts/setup.sh dev
# libatomic1: for the node inside playwright
need_packages postgresql git procps chromium fonts-dejavu-core libatomic1
scripts/peers.sh all >/dev/null

if [ $# -gt 0 ]; then exec .venv/bin/python -m pytest "$@"; fi

scripts/lint.sh
say "tests"
rm -f .coverage .coverage.*
# files are spread over two processes; the tests of one file stay together, for their module fixtures
.venv/bin/python -m pytest -q -rs -n 2 --dist loadfile --cov --cov-report= --durations=10
.venv/bin/python scripts/check_coverage.py
say "conformance"
scripts/conformance.sh
say "make test took $((SECONDS - started)) s"
