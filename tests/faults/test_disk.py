"""Nothing runs that cannot be recorded; and what could not be written leaves no gap behind."""

import contextlib
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from taskgate.demo.gate import GateFault
from tests.end_to_end.conftest import TASKS
from tests.faults.faulty import Faulty, faulty_gate
from tests.patience import PATIENCE_S, eventually
from tests.servers import Server

INSERT = "INSERT INTO shop.audit_log (at, actor, action, detail) VALUES (now(), 'a', '{}', '{{}}')"
COUNT = "SELECT count(*) FROM shop.audit_log WHERE action = '{}'"

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


def small_disk(folder: Path) -> None:
    """A megabyte for the recordings, all told."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", str(folder)]
    subprocess.run(mount, check=True)


@pytest.fixture(params=["process", "disk"])
def cramped(request: pytest.FixtureRequest, server: Server, shop_database: str) -> Iterator[Faulty]:
    with faulty_gate(
        server, shop_database, TASKS, durability=request.param, recordings=small_disk
    ) as gate:
        yield gate


def fill(folder: Path) -> Path:
    """Leaves no byte free."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    return ballast


def insert_often(connection: "psycopg.Connection[psycopg.rows.TupleRow]", action: str) -> None:
    """More than the last page of a file may have had room for."""
    for _ in range(100):
        connection.execute(INSERT.format(action))


@root
def test_a_full_disk_refuses_and_once_there_is_room_all_is_well(cramped: Faulty) -> None:
    action = f"full-{time.time_ns()}"
    with cramped.connect("everything") as connection:
        connection.execute(INSERT.format(action))
        ballast = fill(cramped.own.recordings)
        mark = cramped.server.log_size()
        with pytest.raises(psycopg.Error, match=r"cannot be written|could be recorded") as caught:
            insert_often(connection, action + "x" * 200)
        assert caught.value.sqlstate == "58030"
        assert connection.closed
    sent = cramped.server.log_since(mark).count("x" * 200)
    # What the gateway's own look at the disk may have given back.
    fill(cramped.own.recordings)
    with pytest.raises(psycopg.OperationalError, match=r"cannot be written|could be recorded"):
        cramped.connect("everything").close()
    cramped.logged("session.not_recorded")
    eventually(lambda: not cramped.own._ready(), "it calls itself ready")

    ballast.unlink()
    eventually(cramped.own._ready, "it is not ready again")
    cramped.well()
    cramped.own.stop()
    cramped.own.start()
    report = cramped.verify()
    assert report.whole, report
    recorded = [e for e in cramped.events("request.permitted") if "x" * 200 in e.facts["text"]]
    assert len(recorded) >= sent
    assert cramped.behind(COUNT.format(action)) == "1"


@root
def test_a_folder_that_cannot_be_written_lets_nobody_in(patient: Faulty) -> None:
    """The recordings under way go on: theirs is a file that is open already."""
    folder = patient.own.recordings / "open"
    with patient.connect("everything") as connection:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], check=True)
        try:
            mark = patient.server.log_size()
            with pytest.raises(psycopg.OperationalError, match=r"[Rr]ead-only") as caught:
                patient.connect("everything").close()
            assert "recording" in str(caught.value)
            assert "connection received" not in patient.server.log_since(mark)
            connection.execute("SELECT 1")
        finally:
            # The gateway may be looking into it just now.
            subprocess.run(["umount", "-l", str(folder)], check=True)
        connection.execute("SELECT 2")
    patient.well()


@root
def test_a_gateway_does_not_start_on_a_disk_that_cannot_be_written(
    server: Server, shop_database: str
) -> None:
    def read_only(folder: Path) -> None:
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], check=True)

    with (
        pytest.raises(GateFault, match=r"[Rr]ead-only"),
        faulty_gate(server, shop_database, TASKS, recordings=read_only),
    ):
        pass


def test_a_locked_store_refuses_what_needs_it_and_nothing_else(patient: Faulty) -> None:
    file = patient.own.state / "taskgate.db"
    token = patient.gate.grant("everything")
    with patient.connect("everything") as running, contextlib.ExitStack() as stack:
        short = stack.enter_context(patient.connect("everything"))
        holding = stack.enter_context(patient.connect("fix"))
        lock = stack.enter_context(contextlib.closing(_store(file)))
        lock.execute("BEGIN EXCLUSIVE")
        # Who waits in line behind others that the lock stops hears of the time, not of the lock.
        silent = "store (is locked|did not answer)"
        with pytest.raises(psycopg.OperationalError, match=silent) as caught:
            patient.connect("everything", token).close()
        assert "try again" in str(caught.value)
        # Who is in stays in: their right is read, and reading goes on.
        assert running.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.Error, match="state store"):
            holding.execute("UPDATE shop.orders SET status = 'x' WHERE id = 1")
        short.close()
        time.sleep(3)
        lock.execute("ROLLBACK")
    patient.recorded("session.closed", "the state store")
    patient.recorded("hold.cancelled", "state store")
    patient.well()
    eventually(
        lambda: not _open_sessions(file),
        "a session that ended while the store was locked is called open for ever",
    )
    assert patient.verify().whole


def _store(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=PATIENCE_S, isolation_level=None)


def _open_sessions(file: Path) -> int:
    with contextlib.closing(_store(file)) as store:
        found = store.execute("SELECT count(*) FROM sessions WHERE ended_at IS NULL").fetchone()
    return int(found[0])
