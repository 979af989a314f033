"""Each cap, lifted: the test that is marked for it must fail then. `make test-long` runs it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.promises import caps

MARKED = caps.marked()


def test_what_is_lifted_is_each_use_and_nothing_else() -> None:
    source = "from m.limits import A\nif x > A and limits.A < y.A:\n    say(f'at most {A}', AB)\n"
    assert caps.lift("A", source, "* 9") == (
        "from m.limits import A\nif x > (A * 9) and (limits.A * 9) < y.A:\n"
        "    say(f'at most {A}', AB)\n"
    )


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", caps.names())
def test_with_the_cap_lifted_its_test_fails(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "taskgate"
    shutil.copytree(
        caps.ROOT / "src/taskgate", copy, ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    factor = "/ 1000" if name.startswith("MIN_") else "* 1000"
    lifted = 0
    for path in copy.rglob("*.py"):
        before = path.read_text()
        if path == copy / "model/limits.py" or name not in before:
            continue
        after = caps.lift(name, before, factor)
        path.write_text(after)
        lifted += after != before
    assert lifted, "nothing uses it"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "--timeout=120", *MARKED[name]],
        cwd=caps.ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # 1: tests failed; anything else means that they did not run.
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert " failed" in done.stdout, done.stdout[-2000:]
