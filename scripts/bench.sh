#!/usr/bin/env bash
# make bench: direct, nginx and Callgate in one run (bench/). ARGS go to it, such as --quick.
. "$(dirname "$0")/lib.sh"
scripts/setup.sh run
need_packages gcc libc6-dev nginx-light util-linux
exec .venv/bin/python bench/run.py "$@"
