#!/usr/bin/env bash
# Proves the README's commands on a fresh Debian 12 that has Python 3.11, git and make, and nothing
# else: debootstraps one, clones this checkout into it, and runs there
#   as a plain user: make demo-tour
#   as root, in root's closed home: make demo-tour, make test
# Package sources, proxies and certificates are this machine's own. Needs root and debootstrap.
#
#   TREE=1 scripts/clean-room.sh            takes the work tree, uncommitted changes included
#   STEPS="user-demo" scripts/clean-room.sh   only these of user-demo, root-demo, root-test
#   BASE=/somewhere scripts/clean-room.sh     keeps the bare system there for the next time
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ "$(id -u)" = 0 ] || { echo "clean-room needs root: it makes a chroot" >&2; exit 1; }

# Mounts and processes of the room vanish with this namespace, however the script ends.
if [ -z "${IN_NAMESPACE:-}" ]; then
  exec env IN_NAMESPACE=1 unshare --mount --pid --fork --kill-child "$0" "$@"
fi
mount --make-rprivate /

scripts/system-packages.sh debootstrap
work=$(mktemp -d /var/tmp/taskgate-room.XXXXXX)
chmod 755 "$work"
trap 'umount -l "$work"/room/{proc,dev,tmp} 2>/dev/null; rm -rf --one-file-system "$work"' EXIT
base=${BASE:-$work/base}
room=$work/room

if [ ! -e "$base/etc/debian_version" ]; then
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | head -n 1)
  [ -n "$mirror" ] || { echo "no Debian 12 among this machine's apt sources" >&2; exit 1; }
  echo "== a bare Debian 12"
  debootstrap --variant=minbase --include=python3,git,make,ca-certificates \
    bookworm "$base" "$mirror" >"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; exit 1; }
fi

cp -a "$base" "$room"
rm -rf "$room/etc/apt" "$room/var/lib/apt/lists"/*
for own in /etc/apt /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs \
  /usr/local/share/ca-certificates /usr/share/keyrings; do
  if [ -e "$own" ]; then
    mkdir -p "$room$(dirname "$own")"
    rm -rf "${room:?}$own"
    cp -aL "$own" "$room$own" 2>/dev/null || cp -a "$own" "$room$own"
  fi
done
mount -t proc proc "$room/proc"
mount --rbind /dev "$room/dev"
mount -t tmpfs tmpfs "$room/tmp"
chmod 1777 "$room/tmp"

source_tree=$work/source.git
if [ -n "${TREE:-}" ]; then
  copy=$work/tree
  mkdir "$copy"
  git ls-files -coz --exclude-standard | while IFS= read -r -d '' file; do
    if [ -e "$file" ]; then printf '%s\0' "$file"; fi
  done | tar -c --null -T - | tar -x -C "$copy"
  git -C "$copy" init -q -b main
  git -C "$copy" add -A
  git -C "$copy" -c user.name=room -c user.email=room@localhost commit -q -m "The work tree"
  git clone -q --bare "$copy" "$source_tree"
else
  git clone -q --bare . "$source_tree"
fi
cp -a "$source_tree" "$room/srv/taskgate.git"
chroot "$room" useradd -m visitor
chroot "$room" git config --system --add safe.directory '*'

# What this machine tells pip, apt and TLS by environment holds inside too.
passed=()
while IFS= read -r -d '' pair; do
  case ${pair%%=*} in
    PIP_FIND_LINKS) ;;
    PIP_* | *_CA_BUNDLE | *CAINFO | SSL_CERT_* | PIP_CERT | [hH][tT][tT][pP]*_[pP][rR][oO][xX][yY] | \
      [nN][oO]_[pP][rR][oO][xX][yY] | CI) passed+=("$pair") ;;
  esac
done < <(env -0)

inside() { # WHO COMMAND
  local who=$1 home
  home=$(chroot "$room" getent passwd "$who" | cut -d: -f6)
  chroot --userspec="$who" --groups= "$room" env -i "${passed[@]}" HOME="$home" USER="$who" \
    LANG=C.UTF-8 TERM="${TERM:-dumb}" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    bash -euo pipefail -c "cd; $2" </dev/null
}

clone="git clone -q /srv/taskgate.git taskgate && cd taskgate"
for step in ${STEPS:-user-demo root-demo root-test}; do
  echo "== $step"
  case $step in
    user-demo) inside visitor "rm -rf taskgate; $clone && make demo-tour && make demo-clean" ;;
    root-demo) inside root "[ -d taskgate ] || { $clone; }; cd ~/taskgate && make demo-tour" ;;
    root-test) inside root "[ -d taskgate ] || { $clone; }; cd ~/taskgate && .ci/run" ;;
    user-setup) inside visitor "rm -rf taskgate; $clone && time scripts/venv.sh demo && time scripts/venv.sh demo" ;;
    root-setup) inside root "rm -rf taskgate; $clone && time scripts/venv.sh demo && scripts/system-packages.sh postgresql-15" ;;
    shell) chroot "$room" env -i "${passed[@]}" HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" bash -c "${COMMAND:-bash}" ;;
    *) echo "no such step: $step" >&2; exit 1 ;;
  esac
done
echo "== the room is clean: ${STEPS:-user-demo root-demo root-test}"
