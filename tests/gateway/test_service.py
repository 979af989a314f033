"""The gateway as a process: started, reloaded, stopped, killed, started again."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from taskgate.recording.damage import Report
from taskgate.recording.keys import load_public
from taskgate.recording.verify import verify_dir
from tests.api.gate import POLICY, Gate, launch, start_gate, wait_ready
from tests.patience import PATIENCE_S, eventually

FEW = {"ann": ("analysts",), "adm": ("admins",), "aut": ("authors",), "lea": ("leads",)}


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    running = asyncio.run(start_gate(tmp_path, people=FEW))
    yield running
    running.hang_up()
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


def records(gate: Gate) -> Report:
    state = gate.folder / "state"
    return verify_dir(state / "recordings", load_public(state / "recording.key.pub"))


def again(gate: Gate) -> None:
    gate.hang_up()
    gate.process.wait(PATIENCE_S)
    gate.process = launch(gate.folder)
    wait_ready(gate)


def serve(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Runs `serve` where it is expected not to start."""
    return subprocess.run(
        [sys.executable, "-m", "taskgate.cli.main", "serve", "--config", "gate.yaml"],
        cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_clean_and_seals_the_records(gate: Gate, number: int) -> None:
    gate.grant()
    assert gate.stop(number) == 0
    report = records(gate)
    assert report.whole
    assert report.open == 0
    text = "".join(path.read_text() for path in (gate.folder / "state").rglob("*.tgr"))
    assert '"gateway.stopped"' in text


def test_a_killed_gateway_comes_back_with_all_that_was_recorded(gate: Gate) -> None:
    grant = gate.grant()
    gate.process.kill()
    again(gate)
    assert gate.call("ann", "GET", "/v1/grants").json()[0]["id"] == grant
    report = records(gate)
    assert report.whole
    text = "".join(path.read_text() for path in (gate.folder / "state").rglob("*.tgr"))
    assert grant in text
    assert '"recording.recovered"' in text


def test_a_second_signal_ends_it_at_once(gate: Gate) -> None:
    def attempt() -> int:
        # A stream keeps the API's own shutdown waiting for up to a second.
        with gate.client("lea") as client, client.stream("GET", "/v1/approvals/stream") as stream:
            next(stream.iter_lines())
            stops = gate.log.count('"gateway.draining"')
            gate.process.send_signal(signal.SIGTERM)
            eventually(lambda: gate.log.count('"gateway.draining"') > stops, "it does not stop")
            gate.process.send_signal(signal.SIGINT)
            return gate.process.wait(PATIENCE_S)

    # Where this machine was busy for longer, it had stopped before the second signal came.
    for _ in range(5):
        status = attempt()
        again(gate)
        if status != 0:
            break
    assert status == 128 + signal.SIGINT
    assert records(gate).whole


def test_streams_and_kept_connections_do_not_hold_up_a_stop(gate: Gate) -> None:
    with gate.client("lea") as client, client.stream("GET", "/v1/approvals/stream") as stream:
        lines = stream.iter_lines()
        next(lines)
        began = time.monotonic()
        gate.process.send_signal(signal.SIGTERM)
        try:
            for _ in lines:
                pass
        except httpx.TransportError:
            pass
        assert gate.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - began < 20


def test_a_good_policy_is_taken_up_at_sighup_and_a_bad_one_is_not(gate: Gate) -> None:
    policy = gate.folder / "policy" / "all.yaml"

    def tasks() -> list[str]:
        return [task["name"] for task in gate.call("ann", "GET", "/v1/tasks").json()]

    def reloaded(wanted: str) -> None:
        gate.process.send_signal(signal.SIGHUP)
        eventually(lambda: wanted in gate.log, f"{wanted} was not logged")

    assert tasks() == ["both-shops", "sales-report"]
    policy.write_text(POLICY.replace("name: both-shops", "name: twin-shops"))
    reloaded("policy.loaded")
    assert tasks() == ["sales-report", "twin-shops"]
    policy.write_text(POLICY.replace("permit:", "permits:"))
    reloaded("policy.not_loaded")
    assert tasks() == ["sales-report", "twin-shops"], "what is in force stays"
    assert "all.yaml:" in gate.log


def test_the_api_reads_the_folder_again_and_takes_no_other_files(gate: Gate) -> None:
    policy = gate.folder / "policy" / "all.yaml"
    policy.write_text(POLICY.replace("name: both-shops", "name: twin-shops"))
    applied = gate.call("aut", "POST", "/v1/policy/apply", {}).json()
    assert applied["applied_by"] == "local:aut"
    names = [task["name"] for task in gate.call("ann", "GET", "/v1/tasks").json()]
    assert "twin-shops" in names
    refused = gate.call("aut", "POST", "/v1/policy/apply", {"files": {"a.yaml": POLICY}})
    assert refused.status_code == 409
    history = gate.call("aut", "GET", "/v1/policy/history").json()
    assert [one["current"] for one in history] == [True, False]
    policy.write_text("kind: Tusk\n")
    bad = gate.call("aut", "POST", "/v1/policy/apply", {})
    assert bad.status_code == 422
    assert "all.yaml:1" in bad.text


def test_without_a_folder_the_stores_policy_counts_on_every_node(tmp_path: Path) -> None:
    people = {**FEW, "aut": ("authors",)}
    gate = asyncio.run(start_gate(tmp_path, policy=False, people=people))
    try:
        ready = gate.call(None, "GET", "/readyz")
        assert (ready.status_code, ready.text) == (503, "not ready: policy\n")
        assert gate.call("ann", "GET", "/v1/tasks").json() == []
        assert gate.call("aut", "POST", "/v1/policy/apply", {"files": {}}).status_code == 403
        # The first one comes from the host; afterwards its authors apply their own.
        files = tmp_path / "files"
        files.mkdir()
        (files / "all.yaml").write_text(POLICY)
        command = [sys.executable, "-m", "taskgate.cli.main", "policy", "apply", str(files)]
        command += ["--config", str(gate.config)]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
        eventually(lambda: gate.call(None, "GET", "/readyz").status_code == 200)
        body = {"files": {"b.yaml": POLICY.replace("both-shops", "twin-shops")}}
        assert gate.call("aut", "POST", "/v1/policy/apply", body).status_code == 200
        names = [task["name"] for task in gate.call("ann", "GET", "/v1/tasks").json()]
        assert names == ["sales-report", "twin-shops"]
        wrong = {"files": {"b.yaml": "kind: Task\nname: x\n"}}
        assert gate.call("aut", "POST", "/v1/policy/apply", wrong).status_code == 422
        assert "twin-shops" in gate.call("ann", "GET", "/v1/tasks").text
    finally:
        gate.stop()


def test_it_is_not_ready_where_it_cannot_record(gate: Gate) -> None:
    recordings = gate.folder / "state" / "recordings"
    recordings.rename(gate.folder / "away")

    def said() -> tuple[int, str]:
        ready = gate.call(None, "GET", "/readyz")
        return ready.status_code, ready.text

    eventually(lambda: said() == (503, "not ready: recording\n"), "it calls itself ready")
    assert gate.call(None, "GET", "/healthz").status_code == 200
    (gate.folder / "away").rename(recordings)
    eventually(lambda: said()[0] == 200, "it is not ready again")


def test_what_cannot_be_recorded_is_not_given(gate: Gate) -> None:
    gate.call("ann", "GET", "/v1/me")
    gate.call("lea", "GET", "/v1/me")
    recordings = gate.folder / "state" / "recordings"
    # Root writes anywhere, so a full or read-only disk is played by a folder that is gone.
    recordings.rename(gate.folder / "away")
    try:
        body = {"task": "sales-report", "reason": "unrecorded"}
        answer = gate.call("ann", "POST", "/v1/grants", body)
        if answer.status_code == 201:
            # The open file went along with its folder, and still takes what is written.
            text = "".join(p.read_text() for p in (gate.folder / "away").rglob("*.tgr"))
            assert answer.json()["grant"]["id"] in text
        else:
            assert answer.status_code == 503
    finally:
        (gate.folder / "away").rename(recordings)


def test_two_gateways_do_not_share_an_audit_directory(gate: Gate) -> None:
    second = serve(gate.folder)
    assert second.returncode == 7
    assert "another gateway" in second.stderr
    assert gate.call(None, "GET", "/healthz").status_code == 200


def test_a_port_that_is_taken_is_told(gate: Gate, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    port = gate.url.rpartition(":")[2]
    (other / "gate.yaml").write_text(
        f"state_dir: state\napi: {{port: {port}}}\npostgres: {{port: 0}}\n"
    )
    found = serve(other)
    assert found.returncode == 7
    assert port in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [("kind: Tusk\n", "all.yaml:1"), ("", "policy")],
)
def test_it_does_not_start_with_a_policy_that_is_wrong(
    tmp_path: Path, policy: str, wanted: str
) -> None:
    (tmp_path / "policy").mkdir()
    if policy:
        (tmp_path / "policy" / "all.yaml").write_text(policy)
    (tmp_path / "gate.yaml").write_text(
        "state_dir: state\npolicy: policy\napi: {port: 0}\npostgres: {port: 0}\n"
    )
    found = serve(tmp_path)
    assert found.returncode == 7
    assert wanted in found.stderr
    assert "Traceback" not in found.stderr


def test_what_it_makes_is_its_owners_alone(gate: Gate) -> None:
    state = gate.folder / "state"
    assert state.stat().st_mode & 0o077 == 0
    for name in ("master.key", "recording.key", "taskgate.db", "tls/ca.key", "tls/gateway.key"):
        assert (state / name).stat().st_mode & 0o077 == 0, name


def test_its_arguments_and_environment_hold_no_secret(gate: Gate) -> None:
    process = Path(f"/proc/{gate.process.pid}")
    shown = process.joinpath("cmdline").read_bytes() + process.joinpath("environ").read_bytes()
    master = (gate.folder / "state" / "master.key").read_bytes().split()[-1]
    assert master not in shown
    assert gate.token("ann").encode() not in shown
    assert os.environ.get("PATH", "").encode() in shown, "it was really read"
