#!/usr/bin/env bash
# Compiles the hot modules (scripts/compiled-modules.txt) into build/compiled, a whole taskgate
# beside the sources: PYTHONPATH=build/compiled runs it. Does nothing where that is up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
into=${1:-build/compiled}

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }
die() { printf '\n%s\n' "$*" >&2; exit 1; }

command -v cc >/dev/null || die "There is no C compiler. On Debian 12: apt-get install gcc
The gate runs without: compiling makes it faster, and changes nothing else."
header=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h
[ -e "$header" ] || die "Python's headers are missing. On Debian 12: apt-get install python3-dev"

fingerprint() {
  { find src -type f ! -name '*.pyc' ! -path '*.egg-info/*' -print0 | sort -z | xargs -0 sha256sum
    cat setup.py pyproject.toml scripts/compile.sh scripts/compiled-modules.txt
    echo "${TASKGATE_OPT_LEVEL:-2}"; .venv/bin/python -VV; } | sha256sum | cut -d' ' -f1
}
wanted=$(fingerprint)
if [ "$(cat "$into/.of" 2>/dev/null)" = "$wanted" ]; then exit 0; fi

say "compiling the hot modules (about a minute)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# In a copy: setuptools leaves its traces beside what it builds.
cp -r src setup.py pyproject.toml README.md LICENSE "$work"
mkdir "$work/scripts"
cp scripts/compiled-modules.txt "$work/scripts"
(cd "$work" && TASKGATE_COMPILE=1 "$OLDPWD/.venv/bin/python" -m pip install -q \
  --disable-pip-version-check --no-input --no-index --no-build-isolation --no-deps \
  --target out .) || die "Compiling failed; the compiler's words are above."
echo "$wanted" >"$work/out/.of"
mkdir -p "$(dirname "$into")"
rm -rf "$into"
mv "$work/out" "$into"
