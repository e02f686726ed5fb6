#!/usr/bin/env bash
# Writes the lock files anew from pyproject.toml. Arguments go to uv, such as --upgrade.
. "$(dirname "$0")/lib.sh"
uv="$(scripts/bootstrap.sh)"
compile() {
  "$uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
    --no-annotate "$@"
}
compile requirements/bootstrap.in -o requirements/bootstrap.txt
compile "$@" requirements/npm.in -o requirements/npm.txt
compile "$@" pyproject.toml --group build -o requirements/runtime.txt
compile "$@" pyproject.toml --group dev -c requirements/runtime.txt -o requirements/dev.txt
# test peers: one lock each; an override file stands where two packages' pins cannot both be met
for environment in tests/peers/*/requirements.in; do
  [ -f "$environment" ] || continue
  folder="$(dirname "$environment")"
  overrides=()
  [ -f "$folder/overrides.txt" ] && overrides=(--override "$folder/overrides.txt")
  compile "$@" "${overrides[@]}" "$environment" -o "$folder/requirements.txt"
done
for manifest in tests/peers/*/package.json; do
  folder="$(dirname "$manifest")"
  NPM_FOLDER="$folder" scripts/npm.sh install --package-lock-only --loglevel=error </dev/null >&2
  ! grep -q "\"resolved\"" "$folder/package-lock.json" || fail "$folder/package-lock.json holds addresses"
done
