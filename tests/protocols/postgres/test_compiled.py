"""The path of a statement, compiled by mypyc from the same source, under the same tests."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# What mypyc must not change: bytes in, bytes out; what is recorded; and a whole gate on the wire.
TESTS = ("tests/protocols/postgres", "tests/recording", "tests/end_to_end/test_wire.py")
MODULE = "taskgate.protocols.postgres.exchange"


@pytest.mark.timeout(900)
def test_compiled_they_do_the_same(tmp_path: Path) -> None:
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if shutil.which("cc") is None or not header.exists():
        pytest.skip("no C compiler, or no Python headers")
    into = tmp_path / "compiled"
    built = subprocess.run(
        [ROOT / "scripts" / "compile.sh", into],
        env=os.environ | {"TASKGATE_OPT_LEVEL": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    code = (
        f"import sys, pytest, {MODULE} as module;"
        "assert not module.__file__.endswith('.py'), module.__file__;"
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    # How long something takes beside something else is another matter when it is compiled.
    names = "not linear_time and not compiled"
    ran = subprocess.run(
        [sys.executable, "-c", code, "-q", "-p", "no:xdist", "-k", names, *TESTS],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(into)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
