"""The house's rules that no linter has: sizes, names, and that the bans really ban."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MAX_LINES = 500


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_a_file_has_one_subject_and_at_most_500_lines(source: Path) -> None:
    assert len(source.read_text().splitlines()) <= MAX_LINES
    assert source.stem not in {"utils", "util", "helpers", "helper", "manager", "managers", "misc"}


@pytest.mark.parametrize(
    "line",
    [
        "import asyncio",
        "import socket",
        "from time import monotonic",
        "import random",
        "from secrets import token_bytes",
        "import datetime\ndatetime.datetime.now()",
        "import os\nos.urandom(4)",
        "import threading",
        "import ssl",
    ],
)
def test_sans_io_code_cannot_reach_the_world(line: str, tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(line + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--config",
         str(ROOT / "scripts" / "sans-io.toml"), str(tmp_path / "probe.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "TID251" in done.stdout


def test_the_contract_on_imports_names_every_layer() -> None:
    contract = (ROOT / "pyproject.toml").read_text()
    for folder in (ROOT / "src" / "taskgate").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"taskgate.{folder.name}" in contract, f"{folder.name} is in no layer"


def test_no_file_names_this_machine_or_a_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    # In pieces, so that this file does not name them either.
    words = ["files.python" + "hosted", "py" + "pi.org", "deb.deb" + "ian.org", "/work" + "/"]
    for name in filter(None, listed):
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 2_000_000:
            text = path.read_bytes().decode("utf-8", "replace")
            found = [word for word in words if word in text]
            assert not found, f"{name} names {found}"
