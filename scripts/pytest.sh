#!/usr/bin/env bash
# All tests. Where every server is installed, a test that misses one fails instead of skipping.
# TEST_WORKERS=0 runs them in one process.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -x /usr/lib/postgresql/15/bin/postgres ] && [ -x /usr/sbin/sshd ] && export TASKGATE_TEST_ALL=1
# They wait for servers more than they compute: one worker more than there are cores. A file's tests
# share its servers, and stay together.
workers=${TEST_WORKERS:-$(($(nproc) + 1))}
exec .venv/bin/python -m pytest -n "$workers" --dist loadfile "$@"
