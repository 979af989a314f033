"""The gated shell: OpenSSH's client in a terminal, each line judged before it runs."""

import time
from collections.abc import Iterator

import pytest

from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_HOST_ANSWER_BYTES
from tests.hosts import Host
from tests.patience import eventually
from tests.ssh_setting import LEAD, SshSetting, running_ssh_gate, ssh_host
from tests.terminals import gated_shell

__all__ = ["ssh_host"]

TASKS = """
kind: Task
name: ops
description: Look after the web server
resource: target
for: {groups: [testers]}
permit:
  - shell: [gated]
  - run: ["echo **", "cat **", "id", "sleep *", "ls **", "pwd", "tty", "stty size", "printenv *"]
  - run: ["cd /srv*", "cd /tmp*", "false", "systemctl status web-*", "seq *", "sh -c 'kill -9 $$'"]
  - env: [LANG, "TG_*"]
  - write: ["/tmp/**"]
  - terminal: [tty, stty]
hold:
  - run: ["echo restart web-*"]
    for: {groups: [leads], people: 1, within: 5m}
---
kind: Task
name: silent
resource: target
for: {groups: [testers]}
permit:
  - shell: [gated]
hold:
  - run: ["echo restart web-*"]
    for: {groups: [leads], people: 1, within: 5m}
limits: {idle: 10s}
---
kind: Task
name: brief
resource: target
for: {groups: [testers]}
permit:
  - shell: [gated]
  - run: ["sleep *", "echo well"]
limits: {statement: 5s}
---
kind: Task
name: short
resource: target
for: {groups: [testers]}
permit:
  - shell: [gated]
  - run: ["seq *", "echo well"]
limits: {bytes: 2000}
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS, people=(LEAD,)) as found:
        yield found


def test_lines_run_and_a_refusal_says_why(place: SshSetting) -> None:
    with gated_shell(place, "ops") as shell:
        shell.ready()
        assert shell.says("echo one  two") == "one two\n"
        refused = shell.says("rm -rf /tmp/x")
        assert "no rule of task ops permits it" in refused
        assert shell.says("echo $?") == "126\n"
        shell.type("exit\r")
        assert shell.ended() == 0, shell.seen


def test_folder_and_variables_stay(place: SshSetting) -> None:
    top = place.home / "gated"
    place.host.run(f"mkdir -p {top}/sub && ln -sfn {top}/sub {top}/link")
    with gated_shell(place, "ops") as shell:
        shell.ready()
        shell.says(f"cd {top}/link")
        shell.shows(f"ops@target {top}/sub>")
        assert shell.says("pwd") == f"{top}/sub\n"
        shell.says("cd ..")
        shell.shows(f"ops@target {top}>")
        shell.says("export TG_A='a  b'")
        assert shell.says("printenv TG_A") == "a  b\n"
        shell.says("unset TG_A")
        shell.says("printenv TG_A")
        assert shell.says("echo $?") == "1\n"
        shell.says("echo hello > said")
        assert shell.says("cat said") == "hello\n"
        shell.says("cd")
        assert "no rule of task ops permits it" in shell.says("cd /etc")
        assert "no rule of task ops permits it" in shell.says("export PATH=/tmp")
        assert "no rule of task ops permits it" in shell.says("cd /nowhere")
        assert "no such folder" in shell.says("cd /tmp/nowhere")


def test_a_held_line_waits_and_runs_once_approved(place: SshSetting) -> None:
    with gated_shell(place, "ops") as shell:
        shell.ready()
        shell.type("echo restart web-1\r")
        waiting = place.waiting("ops")
        assert f"held for approval {waiting}" in shell.wait_for("Ctrl-C gives it up")
        place.own.ask("lead", "POST", f"/v1/approvals/{waiting}/approve", {"reason": "yes"})
        assert shell.does().endswith("restart web-1\n")
        shell.type("echo restart web-2\r")
        waiting = place.waiting("ops")
        shell.wait_for("Ctrl-C gives it up")
        shell.does("\x03")
        eventually(lambda: not place.is_waiting(waiting))
        assert shell.says("echo here") == "here\n"


def test_ctrl_c_stops_a_command_and_not_the_shell(place: SshSetting) -> None:
    with gated_shell(place, "ops") as shell:
        shell.ready()
        mark = place.host.mark()
        shell.type("sleep 6006\r")
        eventually(lambda: any("sleep 6006" in one for one in place.host.commands_since(mark)))
        shell.does("\x03")
        eventually(lambda: not place.host.runs("sleep 6006"))
        assert shell.says("echo $?") == "130\n"


def test_a_terminal_is_for_the_commands_that_the_task_names(place: SshSetting) -> None:
    with gated_shell(place, "ops", columns=90, rows=20) as shell:
        shell.ready()
        assert "/dev/pts/" in shell.says("tty")
        assert shell.says("stty size") == "20 90\n"
        shell.resize(70, 15)
        place.resized("ops", 70, 15)
        shell.shows(">")
        assert shell.says("stty size") == "15 70\n"
        assert "not a tty" in shell.says("tty; id")


def test_lines_from_a_pipe_are_judged_in_turn(place: SshSetting) -> None:
    done = place.lines("ops", "echo one\nrm x\necho two\nfalse\n")
    assert done.stdout == "one\ntwo\n"
    assert "no rule of task ops permits it" in done.stderr
    assert done.returncode == 1
    assert place.lines("ops", "exit 7\necho no\n").returncode == 7


def test_completion_and_history(place: SshSetting) -> None:
    with gated_shell(place, "ops") as shell:
        shell.ready()
        shell.type("sys\t\t\t")
        shell.shows("> systemctl status web-")
        assert shell.does("\x15echo first\r") == "first\n"
        assert shell.says("echo second") == "second\n"
        assert shell.does("\x1b[A\x1b[A\r") == "first\n"
        shell.type("\x12sec")
        shell.wait_for("second")
        shell.type("\r")
        shell.shows("> echo second")
        assert shell.does("\r") == "second\n"


def test_the_recording_has_what_the_client_saw_and_each_line(place: SshSetting) -> None:
    with gated_shell(place, "ops", columns=90, rows=20) as shell:
        shell.ready()
        shell.says("echo seen")
        shell.says("rm x")
        shell.says("tty")
        shell.resize(70, 15)
        place.resized("ops", 70, 15)
        shell.shows(">")
        shell.type("\x04")
        assert shell.ended() == 0
    events = place.recorded("ops")
    asked = [f["text"] for k, f in events if k.startswith("request.") and "text" in f]
    assert asked == ["shell (gated)", "echo seen", "rm x", "tty"]
    started = [facts for kind, facts in events if kind == EventKind.TERMINAL_STARTED]
    assert [(one["request"], one["tier"], one["columns"]) for one in started] == [(1, "gated", 90)]
    shown = "".join(f["text"] for kind, f in events if kind == EventKind.TERMINAL_OUTPUT)
    for words in ("ops@target", "seen\r\n", "no rule of task ops permits it", "/dev/pts/"):
        assert words in shown
    resized = next(f for kind, f in events if kind == EventKind.TERMINAL_RESIZED)
    assert (resized["columns"], resized["rows"]) == (70, 15)
    finished = [f["request"] for kind, f in events if kind == EventKind.REQUEST_FINISHED]
    assert finished == [2, 4, 1]


def test_a_gate_that_can_record_no_more_shows_and_runs_no_more(ssh_host: Host) -> None:
    with (
        running_ssh_gate(ssh_host, TASKS, people=(LEAD,)) as alone,
        gated_shell(alone, "ops") as shell,
    ):
        shell.ready()
        mark = ssh_host.mark()
        alone.limit_file_size()
        shell.type("echo unseen\r")
        assert shell.ended() != 0
        assert ssh_host.commands_since(mark) == []


def test_a_shell_that_is_silent_ends_and_one_that_waits_for_people_does_not(
    place: SshSetting,
) -> None:
    with gated_shell(place, "silent") as shell:
        shell.ready()
        shell.type("echo restart web-1\r")
        waiting = place.waiting("silent")
        shell.wait_for("Ctrl-C gives it up")
        time.sleep(12)
        place.own.ask("lead", "POST", f"/v1/approvals/{waiting}/approve", {"reason": "yes"})
        assert shell.does().endswith("restart web-1\n")
        shell.wait_for("the session was silent for 10 s")
        assert shell.ended() != 0


def test_a_limit_ends_the_line_and_not_the_shell(place: SshSetting) -> None:
    for task, line, said in (
        ("brief", "sleep 60", "ran longer than 5 s"),
        ("short", "seq 10000", "longer than 2000 bytes"),
    ):
        with gated_shell(place, task) as shell:
            shell.ready()
            assert said in shell.says(line)
            assert shell.says("echo well") == "well\n"


@pytest.mark.cap("MAX_HOST_ANSWER_BYTES")
def test_a_host_that_talks_without_end(place: SshSetting) -> None:
    start = place.host.home / ".bashrc"
    before = start.read_text()
    try:
        start.write_text(f"{before}\nhead -c {MAX_HOST_ANSWER_BYTES + 1} /dev/zero | tr '\\0' x\n")
        done = place.lines("ops", "id\n")
    finally:
        start.write_text(before)
    assert done.returncode == 125
    assert "the host did not say where its shell begins" in done.stderr
    assert place.lines("ops", "echo well\n").stdout == "well\n"
