#!/usr/bin/env bash
# make eval-scanner: how well and how fast the scanner does. Arguments go to scripts/eval_scanner.py.
. "$(dirname "$0")/lib.sh"
scripts/setup.sh dev >&2
exec .venv/bin/python scripts/eval_scanner.py "$@"
