#!/usr/bin/env bash
# Puts uv, locked by hash, into a small environment of its own. Prints the path of uv.
. "$(dirname "$0")/lib.sh"

python_with_venv() {
  command -v python3 >/dev/null || need_packages python3 python3-venv
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "python3 is $(python3 -V 2>&1), and Callgate needs 3.11 or newer"
  python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages python3-venv
}

main() {
  local stamp
  stamp="$(stamp_of bootstrap requirements/bootstrap.txt)"
  if ! is_fresh bootstrap "$stamp" || ! "$BOOTSTRAP/bin/uv" --version >/dev/null 2>&1; then
    python_with_venv
    say "installing uv"
    rm -rf "$BOOTSTRAP"
    python3 -m venv "$BOOTSTRAP"
    "$BOOTSTRAP/bin/python" -m pip install -qq --require-hashes --only-binary :all: \
      -r requirements/bootstrap.txt >&2
    mark_fresh bootstrap "$stamp"
  fi
  printf '%s\n' "$BOOTSTRAP/bin/uv"
}

with_lock bootstrap main
