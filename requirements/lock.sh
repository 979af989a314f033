#!/bin/sh
# Re-locks the run-time, demo and development requirements with hashes. Needs uv on the PATH.
set -eu
cd "$(dirname "$0")/.."
lock() {
  out=$1; shift
  uv pip compile -q pyproject.toml "$@" --group build --universal --python-version 3.11 \
    --generate-hashes --no-annotate --no-header --no-emit-index-url -o "requirements/$out"
}
lock run.txt
lock demo.txt --extra demo
lock dev.txt --extra demo --group dev
