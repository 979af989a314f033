"""A gateway without an administrator, and the one-time code that makes the first."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.gate import POLICY, Gate, launch, start_gate, wait_ready
from tests.patience import PATIENCE_S
from tests.recorded import recorded_text

PASSWORD = "the first administrator's own"


def codes(gate: Gate) -> list[str]:
    lines = [json.loads(line) for line in gate.log.splitlines() if '"bootstrap.code"' in line]
    return [line["code"] for line in lines]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Gate]:
    running = asyncio.run(start_gate(tmp_path, people={"ann": ("analysts",)}))
    yield running
    running.stop()


@contextlib.contextmanager
def changing(gate: Gate) -> Iterator[sqlite3.Connection]:
    """Its store, which the gateway may be writing to as well."""
    path = gate.folder / "state/taskgate.db"
    with contextlib.closing(sqlite3.connect(path, timeout=PATIENCE_S)) as database, database:
        yield database


def test_the_code_makes_one_person_administrator_once(fresh: Gate) -> None:
    (code,) = codes(fresh)
    assert fresh.call("ann", "GET", "/v1/users").status_code == 403
    body = {"code": code, "name": "root", "password": PASSWORD}
    wrong = fresh.call(None, "POST", "/v1/bootstrap", {**body, "code": "aaaa-bbbb-cccc-dddd"})
    assert wrong.status_code == 401
    # Nothing is made by a wrong code, and a name that is taken does not spend the right one.
    assert fresh.call(None, "POST", "/v1/bootstrap", {**body, "name": "ann"}).status_code == 409
    assert fresh.call(None, "POST", "/v1/bootstrap", body).status_code == 204
    again = fresh.call(None, "POST", "/v1/bootstrap", {**body, "name": "second"})
    assert (again.status_code, again.text) == (401, wrong.text)
    answer = fresh.call(None, "POST", "/v1/login", {"name": "root", "password": PASSWORD}).json()
    assert answer["me"]["rights"] == ["administer", "author"]
    headers = {"Authorization": f"Bearer {answer['token']}"}
    with fresh.client() as client:
        names = [one["name"] for one in client.get("/v1/users", headers=headers).json()]
        assert names == ["ann", "root"]
        alert = client.get("/v1/alerts", headers=headers).json()[0]
        assert (alert["kind"], alert["who"]) == ("administrator.bootstrapped", "local:root")
        # An administrator is no auditor, the first one no more than any.
        assert client.get("/v1/audit/search", headers=headers).status_code == 403
    recorded = recorded_text(fresh.folder / "state/recordings")
    assert '"administrator.bootstrapped"' in recorded
    assert code not in recorded
    assert code not in (fresh.folder / "state/taskgate.db").read_bytes().decode("latin-1")
    fresh.stop()
    once_more = Gate(fresh.folder, fresh.url, launch(fresh.folder), fresh.ca)
    try:
        wait_ready(once_more)
        assert codes(once_more) == [code], "there is an administrator now"
        with once_more.client() as client:
            assert client.get("/v1/users", headers=headers).status_code == 200
    finally:
        once_more.stop()


def test_the_rights_end_by_themselves_and_the_code_does_too(fresh: Gate) -> None:
    (code,) = codes(fresh)
    body = {"code": code, "name": "root", "password": PASSWORD}
    with changing(fresh) as database:
        database.execute("UPDATE bootstrap SET expires_at = 1")
    assert fresh.call(None, "POST", "/v1/bootstrap", body).status_code == 401
    with changing(fresh) as database:
        database.execute("UPDATE bootstrap SET expires_at = 1e12")
    assert fresh.call(None, "POST", "/v1/bootstrap", body).status_code == 204
    fresh.stop(signal.SIGTERM)
    with changing(fresh) as database:
        database.execute("UPDATE bootstrap SET until = 1")
    later = Gate(fresh.folder, fresh.url, launch(fresh.folder), fresh.ca)
    try:
        wait_ready(later)
        answer = later.call(None, "POST", "/v1/login", {"name": "root", "password": PASSWORD})
        assert answer.json()["me"]["rights"] == []
        assert len(codes(later)) == 2, "nobody administers again, so there is a new code"
    finally:
        later.stop()


def test_a_person_who_is_signed_in_may_use_it_and_an_agent_may_not(fresh: Gate) -> None:
    (code,) = codes(fresh)
    assert fresh.call("ann", "POST", "/v1/bootstrap", {"code": code}).status_code == 204
    assert fresh.call("ann", "GET", "/v1/me").json()["rights"] == ["administer", "author"]


def test_the_command_takes_the_code_and_signs_in(fresh: Gate, tmp_path: Path) -> None:
    (code,) = codes(fresh)
    done = subprocess.run(
        ["taskgate", "bootstrap", "root", "--server", fresh.url, "--ca", str(fresh.ca)],
        input=f"{code}\n{PASSWORD}\n", text=True, capture_output=True, check=False, timeout=120,
        env={"PATH": _path(), "TASKGATE_CONFIG_DIR": str(tmp_path / "cli")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "administers this gateway for a day" in done.stderr


def test_where_somebody_administers_there_is_no_code(tmp_path: Path) -> None:
    running = asyncio.run(start_gate(tmp_path, people={"adm": ("admins",)}, policy_text=POLICY))
    try:
        assert codes(running) == []
        answer = running.call(None, "POST", "/v1/bootstrap", {"code": "aaaa-bbbb-cccc-dddd"})
        assert answer.status_code == 401
    finally:
        running.stop()


def _path() -> str:
    import os
    import sys

    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"
