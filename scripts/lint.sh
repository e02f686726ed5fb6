#!/usr/bin/env bash
# Style, types, import contracts, size budgets. All run even when one fails; the exit code is 1 if any did.
. "$(dirname "$0")/lib.sh"
failed=()
check() { # check NAME COMMAND...: quiet when it passes
  local name="$1" out; shift
  if out="$("$@" 2>&1)"; then say "$name: ok"; else printf '%s\n' "$out"; failed+=("$name"); say "$name: FAILED"; fi
}
check "style (ruff)" .venv/bin/ruff check .
check "types (mypy)" .venv/bin/mypy
check "import contracts" .venv/bin/lint-imports
check "size budgets" .venv/bin/python scripts/check_budgets.py
[ ${#failed[@]} -eq 0 ] || fail "these checks failed: ${failed[*]}"
