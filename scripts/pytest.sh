#!/usr/bin/env bash
# All tests. Where every server is installed, a test that misses one fails instead of skipping.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -x /usr/lib/postgresql/15/bin/postgres ] && export TASKGATE_TEST_ALL=1
exec .venv/bin/python -m pytest "$@"
