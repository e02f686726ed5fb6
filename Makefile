# Every target does its own set-up, on a bare Debian 12 that has make and python3. The work is in scripts/.
.DEFAULT_GOAL := help
.PHONY: help setup run test test-clients soak bench eval-scanner eval-dlp conformance lint format docs clean

help:            ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

setup:           ## make .venv from the lock files
	@scripts/setup.sh dev

run:             ## start the gateway: callgate up (ARGS="--demo --port 8787")
	@scripts/setup.sh run
	@exec .venv/bin/callgate up $(ARGS)

lint:            ## style, types, import contracts, size budgets
	@scripts/setup.sh dev
	@scripts/lint.sh

test:            ## everything that is checked before a change lands (TESTS="tests/wire -k name")
	@scripts/test.sh $(TESTS)

test-clients:    ## real MCP clients and servers, some of them large downloads
	@scripts/test-clients.sh $(TESTS)

conformance:     ## the official MCP suite through the gateway
	@scripts/conformance.sh $(ARGS)

soak:            ## the tests that take long
	@scripts/soak.sh $(TESTS)

bench:           ## speed, side by side with nginx
	@scripts/bench.sh $(ARGS)

eval-scanner:    ## how good the scanner is (ARGS="--markdown docs/scanner.md")
	@scripts/setup.sh dev
	@.venv/bin/python -m scripts.eval_scanner $(ARGS)

eval-dlp:        ## how good the scanner is (ARGS="--markdown docs/scanner.md")
	@scripts/setup.sh dev
	@.venv/bin/python -m scripts.eval_dlp $(ARGS)

format:          ## let ruff fix what it can
	@scripts/setup.sh dev
	@.venv/bin/ruff check -q --fix src tests scripts; .venv/bin/ruff format -q src tests scripts

docs:            ## write the reference tables of docs/ from the code
	@scripts/setup.sh dev
	@.venv/bin/python scripts/write_tables.py

clean:           ## remove environments, stamps and reports
	rm -rf .venv .build .peers .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
