# Shared by the scripts: where things are, how they talk, stamps by content. Sourced, never run.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
BUILD="$ROOT/.build"
BOOTSTRAP="$BUILD/bootstrap"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 UV_NO_PROGRESS=1
# the machine's certificate store, as pip and apt use it
export UV_NATIVE_TLS="${UV_NATIVE_TLS:-1}" UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
mkdir -p "$BUILD/stamps"
cd "$ROOT"

say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# stamp_of NAME FILE...: prints the hash of the files' content and of the interpreter in use
stamp_of() {
  local name="$1"; shift
  { printf '%s\n' "$name" "$ROOT"; cat "$@"; } | sha256sum | cut -d' ' -f1
}

is_fresh() { [ -f "$BUILD/stamps/$1" ] && [ "$(cat "$BUILD/stamps/$1")" = "$2" ]; }
mark_fresh() { printf '%s\n' "$2" >"$BUILD/stamps/$1"; }

# The interpreter for the gateway: the distribution's, if it is new enough. It is built with profiles, which is worth a
# seventh of each call; one that was compiled at home usually is not.
optimised_python() {
  local python
  for python in /usr/bin/python3 "$(command -v python3)"; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { printf '%s\n' "$python"; return 0; }
  done
  fail "Python 3.11 or newer is needed"
}

# need_packages PACKAGE...: installs Debian packages as root, else prints the one line to run
need_packages() {
  local missing=() package
  # elsewhere than on Debian the names differ; what is really missing will say so itself
  command -v dpkg-query >/dev/null || { say "not Debian: make sure that you have what these packages hold: $*"; return 0; }
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" != 0 ]; then
    fail "these packages are missing. Run this, then try again:
  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
  fi
  say "installing Debian packages: ${missing[*]}"
  # the lists may be missing or old: read them when the first try fails
  apt_install "${missing[@]}" || { apt-get update -qq </dev/null >>"$BUILD/apt.log" 2>&1 && apt_install "${missing[@]}"; } ||
    { tail -20 "$BUILD/apt.log" >&2; fail "apt-get install failed; the log is .build/apt.log"; }
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >"$BUILD/apt.log" 2>&1
}

# with_lock NAME COMMAND...: one at a time, so that two make runs do not build the same thing
with_lock() {
  local name="$1"; shift
  exec 9>"$BUILD/$name.lock"
  flock 9
  "$@"
  exec 9>&-
}
