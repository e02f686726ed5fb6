#!/usr/bin/env bash
# Runs npm from a locked environment of its own, so that no distribution's npm is needed. Arguments go to npm.
. "$(dirname "$0")/lib.sh"
tools="$BUILD/npm"

main() {
  local stamp uv
  stamp="$(stamp_of npm requirements/npm.txt)"
  is_fresh npm "$stamp" && [ -x "$tools/bin/npm" ] && return 0
  uv="$(scripts/bootstrap.sh)"
  say "installing npm"
  "$uv" venv -q --clear --python "$(command -v python3)" "$tools"
  "$uv" pip sync -q --python "$tools/bin/python" --require-hashes requirements/npm.txt
  mark_fresh npm "$stamp"
}

with_lock npm main
# npm trusts the machine's certificates too, as pip, uv and apt do
certificates=/etc/ssl/certs/ca-certificates.crt
if [ -z "${NODE_EXTRA_CA_CERTS:-}" ] && [ -f "$certificates" ]; then export NODE_EXTRA_CA_CERTS="$certificates"; fi
export PATH="$tools/bin:$PATH"
cd "${NPM_FOLDER:-$ROOT}"
exec "$tools/bin/npm" "$@"
