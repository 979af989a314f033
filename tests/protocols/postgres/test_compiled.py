"""The hot modules compiled by mypyc from the same source, under the same tests."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import taskgate

ROOT = Path(__file__).parents[3]
MODULES = ("tags", "frames", "reader", "messages")
TESTS = ("test_frames.py", "test_frame_runs.py", "test_messages.py")


@pytest.mark.timeout(300)
def test_compiled_they_do_the_same(tmp_path: Path) -> None:
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if shutil.which("cc") is None or not header.exists():
        pytest.skip("no C compiler, or no Python headers")
    package = Path(taskgate.__file__).parent
    shutil.copytree(package, tmp_path / "taskgate", ignore=shutil.ignore_patterns("__pycache__"))
    folder = Path("taskgate", "protocols", "postgres")
    mypyc = [sys.executable, "-m", "mypyc", "--strict"]
    env = os.environ | {"MYPYPATH": "", "MYPYC_OPT_LEVEL": "0"}
    built = subprocess.run(
        [*mypyc, *(str(folder / f"{name}.py") for name in MODULES)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    code = (
        "import sys, pytest, taskgate.protocols.postgres.frames as f;"
        "assert not f.__file__.endswith('.py'), f.__file__;"
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    tests = [str(Path("tests/protocols/postgres", name)) for name in TESTS]
    ran = subprocess.run(
        [sys.executable, "-c", code, "-q", "-k", "not linear_time", *tests],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
