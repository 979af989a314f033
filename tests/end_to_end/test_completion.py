"""Tab completion asks the catalog while a person types; it must not stall, fail or stay silent."""

import os
import pty
import subprocess
import time

import pytest

from tests.end_to_end.conftest import Setting
from tests.patience import PATIENCE_S
from tests.readable import is_readable


def _read_until(terminal: int, wanted: str, seconds: float = PATIENCE_S) -> str:
    seen = ""
    deadline = time.monotonic() + seconds
    while wanted not in seen and time.monotonic() < deadline:
        if is_readable(terminal, 0.2):
            try:
                seen += os.read(terminal, 65536).decode(errors="replace")
            except OSError:
                break
    return seen


def test_a_tables_name_is_completed(setting: Setting) -> None:
    if setting.server.major != 15:
        pytest.skip("the wheel's psql is built without readline")
    ours, theirs = pty.openpty()
    arguments = setting.arguments("report")[1:]
    with subprocess.Popen(
        [setting.server.bin / "psql", "-X", "-v", "PROMPT1=ready> ", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**setting.environment(setting.gate.grant("report")), "TERM": "vt100",
             "PAGER": "cat", "INPUTRC": os.devnull, "PSQL_HISTORY": os.devnull},
    ) as psql:  # fmt: skip
        os.close(theirs)
        assert "ready>" in _read_until(ours, "ready>")
        os.write(ours, b"SELECT count(*) FROM shop.ord\t\t\t")
        shown = _read_until(ours, "order_items")
        if "orders" not in shown:
            shown += _read_until(ours, "orders")
        # Not waited for: what is on the screen tells more than a program that does not end.
        psql.kill()
    os.close(ours)
    assert "order_items" in shown, shown
    assert "orders" in shown, shown
