#!/usr/bin/env bash
# setup.sh run|dev: makes .venv from the lock files. `run` installs what the gateway needs, `dev` also the checks.
. "$(dirname "$0")/lib.sh"
kind="${1:-dev}"

main() {
  local stamp uv lock=runtime
  # what `dev` made stays so, also where the locks have changed since
  [ -f "$BUILD/stamps/venv-dev" ] && [ -d .venv ] && kind=dev
  [ "$kind" = dev ] && lock=dev
  stamp="$(stamp_of venv requirements/dev.txt pyproject.toml)"
  # a development environment holds all that a run needs
  is_fresh venv-dev "$stamp" && [ -x .venv/bin/callgate ] && return 0
  stamp="$(stamp_of venv "requirements/$lock.txt" pyproject.toml)"
  is_fresh "venv-$kind" "$stamp" && [ -x .venv/bin/callgate ] && return 0
  uv="$(scripts/bootstrap.sh)"
  [ -x .venv/bin/python ] || { say "making .venv"; "$uv" venv -q --python "$(optimised_python)" .venv; }
  say "installing requirements/$lock.txt into .venv"
  rm -f "$BUILD"/stamps/venv-*
  "$uv" pip sync -q --python .venv/bin/python --require-hashes "requirements/$lock.txt"
  "$uv" pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .
  mark_fresh "venv-$kind" "$stamp"
}

with_lock setup main
