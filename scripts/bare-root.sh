#!/usr/bin/env bash
# bare-root.sh [COMMAND...]: runs a command (default: make setup, then make test) in a fresh minimal Debian 12 that has
# make, python3, git and certificates, and nothing else. The repository's last commit is cloned into it.
# Root only; needs debootstrap. The mirror is this machine's own; BARE_ROOT names the folder (default /var/tmp/callgate-bare).
. "$(dirname "$0")/lib.sh"
place="${BARE_ROOT:-/var/tmp/callgate-bare}"
base="$place/base" root="$place/root"
[ "$(id -u)" = 0 ] || fail "bare-root.sh needs root"
need_packages debootstrap

# every Debian source of this machine, one `deb URI SUITE COMPONENT` a line
sources() {
  # shellcheck disable=SC2016 # apt expands these
  apt-get indextargets --format 'deb $(REPO_URI) $(SUITE) $(COMPONENT) $(ORIGIN) $(CODENAME)' 'Created-By: Packages' |
    awk '$5 ~ /^Debian/ && $NF ~ /^bookworm/ { print "deb", $2, $NF, $4 }' | sort -u
}

make_base() {
  local mirror
  mirror="$(sources | awk '$3 == "bookworm" { print $2; exit }')"
  [ -n "$mirror" ] || fail "no Debian 12 mirror in this machine's apt sources; run apt-get update first"
  say "making a minimal Debian 12 in $base"
  rm -rf "$base"
  debootstrap --variant=minbase --include=make,python3,git,ca-certificates bookworm "$base" "$mirror" >"$BUILD/debootstrap.log" 2>&1 ||
    { tail -20 "$BUILD/debootstrap.log" >&2; fail "debootstrap failed; the log is .build/debootstrap.log"; }
  sources >"$base/etc/apt/sources.list"
  # services do not start by themselves in it
  printf '#!/bin/sh\nexit 101\n' >"$base/usr/sbin/policy-rc.d"
  chmod +x "$base/usr/sbin/policy-rc.d"
}

# what this machine's network needs: names, certificates, proxies
copy_network() {
  cp /etc/resolv.conf /etc/hosts "$root/etc/"
  cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
  chroot "$root" update-ca-certificates >/dev/null 2>&1
  local file
  for file in /etc/apt/apt.conf.d/*proxy* /etc/apt/apt.conf.d/99*; do
    [ ! -f "$file" ] || cp "$file" "$root/etc/apt/apt.conf.d/"
  done
}

kept_environment() {
  env | grep -iE '^((https?|no|all|ftp)_proxy|PIP_(CERT|INDEX_URL|DEFAULT_TIMEOUT)|(UV|NPM_CONFIG)_[A-Z_]*|SSL_CERT_FILE|NODE_EXTRA_CA_CERTS|CI)=' || true
}

[ -x "$base/usr/bin/make" ] && [ -f "$base/usr/sbin/policy-rc.d" ] || make_base
say "copying it to $root"
rm -rf "$root"
cp -a "$base" "$root"
copy_network
git clone -q "$ROOT" "$root/srv/callgate"

command="${*:-make setup && make test}"
mapfile -t environment < <(kept_environment)
say "running: $command"
started=$SECONDS
# a mount and a process namespace of its own: whatever is left over ends with it. Its root is a real one, since in a mere
# chroot the kernel allows no user namespaces.
unshare --mount --pid --fork --kill-child -- bash -ec '
  mount --make-rprivate / 2>/dev/null || true
  mount --bind "$1" "$1"
  cd "$1"
  mount -t proc proc proc
  mount --rbind /sys sys
  mount --rbind /dev dev
  mkdir -p .outer
  pivot_root . .outer
  umount -l .outer
  rmdir .outer
  command="$2"; shift 2
  exec env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@" \
    chroot . bash -c "cd /srv/callgate && $command"
' bare "$root" "$command" "${environment[@]}" </dev/null
say "done in $((SECONDS - started)) s"
