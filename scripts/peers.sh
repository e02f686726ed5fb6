#!/usr/bin/env bash
# peers.sh ENVIRONMENT...: installs test-peer environments (tests/peers/<environment>) into .peers/ from their
# lock files, and prints their paths. `all` stands for those that make test needs; node-clients is large and apart.
. "$(dirname "$0")/lib.sh"
PEERS="${PEERS_DIR:-$ROOT/.peers}"
ALL=(py-mcp2 py-mcp1 py-fastmcp py-mcp1-servers node)

install_python() {
  local uv
  uv="$(scripts/bootstrap.sh)"
  "$uv" venv -q --clear --python "$(command -v python3)" "$PEERS/$1"
  "$uv" pip sync -q --python "$PEERS/$1/bin/python" --require-hashes "tests/peers/$1/requirements.txt"
}

install_node() {
  mkdir -p "$PEERS/$1"
  cp "tests/peers/$1/package.json" "tests/peers/$1/package-lock.json" "tests/peers/$1/.npmrc" "$PEERS/$1/"
  NPM_FOLDER="$PEERS/$1" scripts/npm.sh ci --ignore-scripts --no-audit --no-fund --loglevel=error \
    --fetch-retries=5 >&2 </dev/null
  # no package runs a script at install time but the one that our own package.json names
  NPM_FOLDER="$PEERS/$1" scripts/npm.sh run --if-present --loglevel=error after-install >&2 </dev/null
  [ -x "$PEERS/$1/node_modules/.bin" ] || fail "npm installed nothing for $1"
}

install_one() {
  local name="$1" folder="tests/peers/$1" kind lock stamp
  if [ -f "$folder/requirements.txt" ]; then kind=python lock="$folder/requirements.txt"
  elif [ -f "$folder/package-lock.json" ]; then kind=node lock="$folder/package-lock.json"
  else fail "there is no test-peer environment $name (known: ${ALL[*]} node-clients)"
  fi
  stamp="$(stamp_of "$PEERS/$name" "$lock" "${lock/package-lock/package}")"
  if ! is_fresh "peers-$name" "$stamp" || [ ! -d "$PEERS/$name" ]; then
    say "installing test peers: $name"
    rm -f "$BUILD/stamps/peers-$name"
    "install_$kind" "$name"
    mark_fresh "peers-$name" "$stamp"
  fi
  printf '%s\n' "$PEERS/$name"
}

[ $# -gt 0 ] || fail "usage: scripts/peers.sh all | ENVIRONMENT... (known: ${ALL[*]} node-clients)"
[ "$1" = all ] && set -- "${ALL[@]}" "${@:2}"
for name in "$@"; do with_lock "peers-$name" install_one "$name"; done
