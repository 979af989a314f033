#!/usr/bin/env bash
# Installs the named Debian packages that are missing, when root; says what is missing otherwise.
# No service is started: the tests run servers of their own.
set -euo pipefail

missing=()
for package in "$@"; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
    missing+=("$package")
done
[ ${#missing[@]} = 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  printf 'not installed: %s\n' "${missing[*]}" >&2
  printf 'what needs them is left out; to have it: apt-get install %s (as root)\n' \
    "${missing[*]}" >&2
  exit 0
fi

guard=/usr/sbin/policy-rc.d
if [ ! -e $guard ]; then
  trap 'rm -f $guard' EXIT
  printf '#!/bin/sh\nexit 101\n' >$guard
  chmod 755 $guard
fi
cluster=/etc/postgresql-common/createcluster.conf
if [[ " ${missing[*]} " == *" postgresql"* ]] && [ ! -e $cluster ]; then
  mkdir -p "$(dirname $cluster)"
  printf '# By taskgate: its tests bring servers of their own.\ncreate_main_cluster = false\n' \
    >$cluster
fi
log=$(mktemp)
install=(apt-get -qq -y --no-install-recommends -o Dpkg::Options::=--force-confold
  install "${missing[@]}")
export DEBIAN_FRONTEND=noninteractive
printf '\033[2minstalling %s\033[0m\n' "${missing[*]}" >&2
if ! "${install[@]}" >"$log" 2>&1 </dev/null; then
  # Fresh machines have no package lists yet.
  { apt-get -qq update && "${install[@]}"; } >"$log" 2>&1 </dev/null || {
    cat "$log" >&2
    exit 1
  }
fi
rm -f "$log"
