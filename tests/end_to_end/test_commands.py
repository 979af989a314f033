"""The commands of approvers and auditors, on sessions that really ran."""

import json
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from taskgate.demo.gate import Person
from tests.end_to_end.conftest import ADMIN, ANALYST, TASKS, Setting
from tests.end_to_end.test_holds import STATUS, UPDATE, running, waiting
from tests.gates import running_gate
from tests.patience import PATIENCE_S, within
from tests.servers import Server

# Of this, since a replay waits no more than two seconds at a time, one half after the other.
PAUSE_S = 4.0


def found(setting: Setting, *arguments: str) -> list[dict[str, Any]]:
    said = setting.gate.own.command("auditor", "audit", "search", "--json", *arguments)
    assert said.returncode == 0, said.stderr
    return list(json.loads(said.stdout)["entries"])


def test_who_read_a_column_on_a_day_is_one_command(setting: Setting) -> None:
    asked = ("--object", "shop.customers.email", "--who", "analyst")
    today = ""
    # Once more where midnight came in between.
    while today != time.strftime("%A").lower():
        today = time.strftime("%A").lower()
        with setting.connect_as("analyst", "report") as connection:
            connection.execute("SELECT email FROM shop.customers WHERE id = 31")
            connection.execute("SELECT name FROM shop.customers WHERE id = 32")
        read = found(setting, *asked, "--on", today)
    assert {row["who"] for row in read} == {"local:analyst"}
    texts = " ".join(row["text"] for row in read)
    assert "id = 31" in texts
    assert "id = 32" not in texts, "the other column is another question"
    another = time.strftime("%A", time.localtime(time.time() + 2 * 86_400)).lower()
    assert found(setting, *asked, "--on", another) == []
    assert found(setting, *asked, "--task", "fix", "--on", today) == []
    both = setting.gate.own.command("auditor", "audit", "search", "--on", today, "--since", "1h")
    assert both.returncode == 2
    assert "--since" in both.stderr


def test_a_session_is_replayed_at_its_pace_or_at_once_and_that_is_recorded(
    setting: Setting,
) -> None:
    with setting.connect_as("analyst", "report") as connection:
        connection.execute("SELECT 'the first', email FROM shop.customers WHERE id = 33")
        time.sleep(PAUSE_S / 2)
        connection.execute("SELECT 'between'")
        time.sleep(PAUSE_S / 2)
        connection.execute("SELECT 'the second'")
    session = found(setting, "--text", "the second", "--who", "analyst")[0]["session"]

    shown: list[str] = []

    def replay(*arguments: str) -> float:
        began = time.monotonic()
        said = setting.gate.own.command("auditor", "replay", session, *arguments)
        assert said.returncode == 0, said.stderr
        shown.append(said.stdout)
        return time.monotonic() - began

    # It waits between the two only where it is to.
    assert replay() > PAUSE_S
    within(PAUSE_S, lambda: replay("--at-once"))
    paced = shown[0]
    assert set(shown) == {paced}
    assert paced.index("the first") < paced.index("the second")
    address = setting.behind("SELECT email FROM shop.customers WHERE id = 33")
    assert address not in paced
    reads = [
        row for row in found(setting, "--who", "auditor")
        if row["verb"] == "recording.read" and row["object"] == session
    ]  # fmt: skip
    assert len(reads) == len(shown)
    refused = setting.gate.own.command("admin", "replay", session)
    assert refused.returncode != 0
    assert "the first" not in refused.stdout


def test_this_shape_for_half_an_hour_twenty_times_is_one_command(setting: Setting) -> None:
    with setting.connect_as("analyst", "fix") as connection:
        with running(lambda: connection.execute(UPDATE.format(25))) as answer:
            asked = waiting(setting, "id = 25")
            said = setting.gate.own.command("lead", "approve", asked["id"], "--shape")
            assert said.returncode == 0, said.stderr
            answer.result(PATIENCE_S)
        assert connection.execute(UPDATE.format(26)).rowcount == 1
    assert setting.behind(STATUS.format(26)) == "cancelled"
    standing = setting.gate.own.ask("lead", "GET", "/v1/standing")
    mine = next(one for one in standing if one["approval_id"] == asked["id"])
    assert mine["uses_left"] == 19
    # The gate's clock does not go back where the machine's does, by a little.
    assert 1500 < mine["expires_at"] - time.time() < 1860


def test_a_token_shows_in_no_process_list(setting: Setting, tmp_path: Path) -> None:
    """Neither that of `exec`, nor of what it runs."""
    script = (
        'printf "%s" "$PGPASSWORD" > "$1/token"; cat /proc/$$/cmdline /proc/$PPID/cmdline; ps axww'
    )
    said = setting.gate.own.command(
        "analyst", "exec", "report", "--reason", "a look", "--", "sh", "-c", script, "sh",
        str(tmp_path),
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    token = (tmp_path / "token").read_text()
    assert token.startswith("tg_")
    assert "exec" in said.stdout
    assert token not in said.stdout + said.stderr


def test_a_policy_is_applied_and_its_history_shown(setting: Setting) -> None:
    own = setting.gate.own
    before = (own.policy / "tasks.yaml").read_text()
    try:
        (own.policy / "tasks.yaml").write_text(before.replace("within: 1s", "within: 2s"))
        applied = own.command("admin", "policy", "apply")
        assert applied.returncode == 0, applied.stderr
        (own.policy / "tasks.yaml").write_text(before + "\n---\nkind: Task\nnane: wrong\n")
        broken = own.command("admin", "policy", "apply")
        assert broken.returncode != 0
        assert "tasks.yaml" in broken.stderr
        assert "name" in broken.stderr, "it suggests the right word"
    finally:
        (own.policy / "tasks.yaml").write_text(before)
        assert own.command("admin", "policy", "apply").returncode == 0
    history = own.command("admin", "policy", "history", "--json")
    assert history.returncode == 0, history.stderr
    assert len(json.loads(history.stdout)) >= 2
    assert own.command("analyst", "policy", "apply").returncode != 0


def _own_address() -> str | None:
    said = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False)
    return next((one for one in said.stdout.split() if "." in one), None)


def test_without_tls_only_this_machine_comes_in_whatever_the_listener_says(pg: Server) -> None:
    address = _own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    database = pg.new_database("plain")
    people: tuple[Person, ...] = (ANALYST, ADMIN)
    with running_gate(pg, database, TASKS, people=people) as gate:
        text = gate.own.config.read_text()
        gate.own.stop()
        gate.own.config.write_text(
            text.replace("plaintext: true", "plaintext: true\n  address: 0.0.0.0")
        )
        gate.own.start()
        body = struct.pack("!i", 196608) + b"user\0everything\0\0"
        for where, kind in (("127.0.0.1", b"R"), (address, b"E")):
            with socket.create_connection((where, gate.port), timeout=PATIENCE_S) as client:
                client.sendall(struct.pack("!i", len(body) + 4) + body)
                told = client.recv(4096)
            # R asks for the password; nobody is asked to send one in clear from elsewhere.
            assert told[:1] == kind, told
        assert b"TLS" in told or b"SSL" in told
    pg.drop_database(database)
