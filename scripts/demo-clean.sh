#!/usr/bin/env bash
# Removes the demo's state: ./demo-state, and what it points to where the state lies elsewhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -x .venv/bin/python ] && [ -d demo-state ]; then
  exec .venv/bin/python -m taskgate.demo clean
fi
rm -rf demo-state
