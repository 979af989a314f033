#!/usr/bin/env bash
# Makes .venv and installs what requirements/NAME.txt pins by hash (NAME: run, demo or dev), then
# this checkout, editable. Does nothing where that is done already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
name=${1:?which requirements: run, demo or dev}

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }
die() { printf '\n%s\n' "$*" >&2; exit 1; }

fingerprint() { # of everything that decides what the virtual environment holds
  cat "requirements/$1.txt" pyproject.toml scripts/venv.sh | sha256sum | cut -d' ' -f1
}
installed() { [ "$(cat ".venv/.installed-$1" 2>/dev/null)" = "$(fingerprint "$1")" ]; }

works() { .venv/bin/python -c 'import taskgate' 2>/dev/null; }
# What dev installs contains demo, which contains run.
case $name in
  run) enough="run demo dev" ;;
  demo) enough="demo dev" ;;
  dev) enough="dev" ;;
  *) die "no such requirements: $name" ;;
esac
for one in $enough; do
  if installed "$one" && works; then exit 0; fi
done

find_python() {
  for candidate in "${PYTHON:-}" python3.11 python3 python3.12 python3.13; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "taskgate needs Python 3.11 or newer. On Debian 12: apt-get install python3"
}

# Debian splits ensurepip out of Python. Root installs it; anyone else may still unpack the pip
# that Debian itself would have used, through apt's own checks, into a private folder.
debian_pip_wheel() {
  local box=$1
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  mkdir -p "$box"/{state/lists/partial,cache/archives/partial,deb}
  local apt=(apt-get -qq -o "Dir::State=$box/state" -o "Dir::Cache=$box/cache"
    -o Dir::State::status=/var/lib/dpkg/status -o APT::Sandbox::User=)
  # apt's clean-up hooks may not delete as this user; that they complain changes nothing.
  (cd "$box/deb" && {
    apt-get -qq download python3-pip-whl ||
      { "${apt[@]}" update || true; "${apt[@]}" download python3-pip-whl; }
  }) >"$box/log" 2>&1 || { tail -n 5 "$box/log" >&2; return 1; }
  dpkg-deb -x "$box"/deb/python3-pip-whl_*.deb "$box/root" || return 1
  ls "$box"/root/usr/share/python-wheels/pip-*.whl
}

make_venv() {
  local python box wheel
  python=$(find_python)
  rm -rf .venv
  if "$python" -c 'import ensurepip' 2>/dev/null && "$python" -m venv .venv 2>/dev/null; then
    return
  fi
  rm -rf .venv
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    scripts/system-packages.sh python3-venv
    "$python" -m venv .venv
    return
  fi
  "$python" -m venv --without-pip .venv
  if "$python" -m pip --python .venv/bin/python --version >/dev/null 2>&1; then
    "$python" -m pip --python .venv/bin/python install -q "${pip_options[@]}" pip && return
  fi
  box=$(mktemp -d)
  if wheel=$(debian_pip_wheel "$box"); then
    .venv/bin/python "$wheel/pip" install -q --no-index --no-deps "$wheel"
    rm -rf "$box"
    return
  fi
  rm -rf "$box" .venv
  die "This Python has no ensurepip, and no pip could be found for the virtual environment.
Do one of these, then run make again:
  as root:   apt-get install python3-venv
  otherwise: ask for python3-venv or python3-pip, or set PYTHON to a Python that has ensurepip"
}

pip_options=(--disable-pip-version-check --no-input)
say "making .venv for $name (once; about a minute)"
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then make_venv; fi
rm -f .venv/.installed-*
.venv/bin/python -m pip install -q "${pip_options[@]}" \
  --require-hashes --no-deps --only-binary=:all: -r "requirements/$name.txt" ||
  die "Installing requirements/$name.txt failed; pip's words are above."
.venv/bin/python -m pip install -q "${pip_options[@]}" \
  --no-index --no-build-isolation --no-deps --editable .
works || die "taskgate was installed, but cannot be imported"
fingerprint "$name" >".venv/.installed-$name"
