"""Commands through the gate: OpenSSH's client, a real sshd, and what either sees."""

import hashlib
import subprocess
import time

import pytest

from taskgate.model.event import EventKind
from tests.patience import eventually, within
from tests.ssh_setting import SshSetting


def test_a_permitted_command_runs_as_written_anew(setting: SshSetting) -> None:
    mark = setting.host.mark()
    done = setting.ssh("look", "echo 'a  b'\"$(echo c)\" ; cat</etc/hostname | wc -c")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "a  bc"
    assert setting.host.commands_since(mark) == [
        'echo "a  b$( echo c )"; cat < /etc/hostname | wc -c'
    ]


def test_a_refused_command_reaches_nothing_and_says_why(setting: SshSetting) -> None:
    mark = setting.host.mark()
    done = setting.ssh("look", "rm -rf /tmp/x")
    assert done.returncode == 126
    assert "no rule of task look permits it" in done.stderr
    assert "look/otherwise" in done.stderr
    assert "taskgate policy explain --task look" in done.stderr
    assert done.stdout == ""
    assert setting.host.commands_since(mark) == []


def test_a_deny_names_its_rule_and_reason(setting: SshSetting) -> None:
    done = setting.ssh("look", "cat -n /etc/shadow")
    assert done.returncode == 126
    assert "denied by look/deny[0]: nobody reads that" in done.stderr


def test_streams_status_and_signals_pass_as_they_are(setting: SshSetting) -> None:
    assert setting.ssh("look", "false").returncode == 1
    done = setting.ssh("look", "cat /nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No such file" in done.stderr
    assert setting.ssh("look", "cat", stdin="in\nout\n").stdout == "in\nout\n"
    # OpenSSH's client says 255 of a command that a signal has ended.
    assert setting.ssh("look", "sh -c 'kill -9 $$'").returncode == 255


def test_bulk_passes_unharmed_both_ways(setting: SshSetting) -> None:
    data = bytes(range(256)) * 4 * 10_000
    done = subprocess.run(
        [*setting.arguments("look"), "cat"], input=data, capture_output=True, check=True,
        timeout=90, env=setting.environment(setting.grant("look")),
    )  # fmt: skip
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_a_reader_that_stops_early_ends_the_command(setting: SshSetting) -> None:
    with setting.start("look", "yes") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "y\n"
        running.kill()
    eventually(lambda: not setting.host.runs("yes"))


def test_permitted_variables_arrive_and_others_do_not(setting: SshSetting) -> None:
    more = {"TG_A": "1", "LD_PRELOAD_X": "2"}
    options = ("-o", "SendEnv=TG_* LD_PRELOAD_X", "-o", "SetEnv=LANG=C.UTF-8")
    done = setting.ssh("look", "printenv TG_A", *options, more=more)
    assert done.stdout == "1\n"
    assert setting.ssh("look", "printenv LD_PRELOAD_X", *options, more=more).stdout == ""
    finished = [f for k, f in setting.recorded("look") if k == EventKind.REQUEST_FINISHED]
    assert finished[0]["variables_left_out"] == ["LD_PRELOAD_X"]


def test_a_terminal_where_the_task_has_one(setting: SshSetting) -> None:
    done = setting.ssh("look", "tty", "-tt")
    assert done.stdout.startswith("/dev/pts/"), done.stderr
    refused = setting.ssh("look", "id", "-tt")
    assert refused.returncode == 126
    assert "terminal id" in refused.stderr


def test_several_channels_on_one_connection_are_each_judged(setting: SshSetting) -> None:
    socket = setting.client / "mux"
    with setting.master("look", socket):
        options = ("-o", f"ControlPath={socket}")
        assert setting.ssh("look", "echo one", *options).stdout == "one\n"
        assert setting.ssh("look", "rm x", *options).returncode == 126
        assert setting.ssh("look", "echo two", *options).stdout == "two\n"
    kinds = [kind for kind, _ in setting.recorded("look")]
    assert kinds.count(EventKind.REQUEST_PERMITTED) == 2
    assert kinds.count(EventKind.REQUEST_DENIED) == 1
    assert kinds.count(EventKind.UPSTREAM_REACHED) == 1


def test_the_recording_has_all_of_it(setting: SshSetting) -> None:
    setting.ssh("look", "echo 'x y' | wc -c")
    events = setting.recorded("look")
    kinds = [kind for kind, _ in events]
    assert kinds[-1] == EventKind.RECORDING_SEALED
    permitted = next(f for k, f in events if k == EventKind.REQUEST_PERMITTED)
    assert permitted["text"] == "echo 'x y' | wc -c"
    assert [(a["verb"], a["object"]) for a in permitted["actions"]] == [
        ("run", "echo 'x y'"),
        ("run", "wc -c"),
    ]
    finished = next(f for k, f in events if k == EventKind.REQUEST_FINISHED)
    assert (finished["exit_status"], finished["bytes_to_client"]) == (0, 2)
    reached = next(f for k, f in events if k == EventKind.UPSTREAM_REACHED)
    assert str(reached["host_key"]).startswith("SHA256:")


def test_a_hold_waits_in_the_channel_and_runs_once_approved(setting: SshSetting) -> None:
    mark = setting.host.mark()
    with setting.start("restart", "echo restart web-1") as running:
        waiting = setting.waiting("restart")
        assert setting.host.commands_since(mark) == []
        setting.own.ask("lead", "POST", f"/v1/approvals/{waiting}/approve", {"reason": "yes"})
        out, said = running.communicate(timeout=60)
    assert (running.returncode, out) == (0, "restart web-1\n"), said
    assert f"held for approval {waiting}" in said
    assert f"/console/approvals/{waiting}" in said
    assert setting.host.commands_since(mark) == ["echo restart web-1"]


def test_a_hold_that_is_given_up_runs_nothing(setting: SshSetting) -> None:
    mark = setting.host.mark()
    with setting.start("restart", "echo restart web-2") as running:
        waiting = setting.waiting("restart")
        running.kill()
    eventually(lambda: not setting.is_waiting(waiting))
    assert setting.host.commands_since(mark) == []


@pytest.mark.parametrize("waiting", [False, True], ids=["running", "held"])
def test_a_revoked_grant_cuts_the_session_within_a_second(
    setting: SshSetting, waiting: bool
) -> None:
    task, command = ("restart", "echo restart web-3") if waiting else ("look", "sleep 3003")

    def revoked() -> float:
        token, grant = setting.grant_of(task)
        mark = setting.host.mark()
        with setting.start(task, command, token=token) as running:
            if waiting:
                setting.waiting("restart")
            else:
                eventually(lambda: setting.host.commands_since(mark))
            began = time.monotonic()
            setting.own.ask("operator", "POST", f"/v1/grants/{grant}/revoke", {"why": "enough"})
            _, said = running.communicate(timeout=60)
            took = time.monotonic() - began
        assert running.returncode != 0
        assert "the grant behind this session was revoked: enough" in said
        assert setting.ssh(task, "id", token=token).returncode == 255
        eventually(lambda: not setting.host.runs("sleep 3003"))
        return took

    within(2, revoked)


@pytest.mark.parametrize(
    ("task", "command", "words"),
    [
        ("capped", "seq 1000000", "longer than 100000 bytes"),
        ("brief", "sleep 60", "ran longer than 2 s"),
    ],
    ids=["bytes", "time"],
)
def test_limits(setting: SshSetting, task: str, command: str, words: str) -> None:
    done = setting.ssh(task, command)
    assert done.returncode == 125
    assert words in done.stderr
    assert len(done.stdout) <= 100_000


def test_a_silent_connection_ends(setting: SshSetting) -> None:
    socket = setting.client / "idle"
    with setting.master("silent", socket) as master:
        assert master.wait(60) != 0
    _, facts = next(e for e in setting.recorded("silent") if e[0] == EventKind.SESSION_CLOSED)
    assert facts["reason"] == "idle"


def test_explain_says_what_a_command_would_get(setting: SshSetting) -> None:
    done = setting.own.command("operator", "policy", "explain", "--task", "look", "cat /etc/shadow")
    assert done.stdout.startswith("DENY  run cat /etc/shadow: denied by look/deny[0]"), done.stderr
    done = setting.own.command("operator", "policy", "explain", "--task", "look", "echo 'a'  b")
    assert done.stdout.startswith("PERMIT  run echo a b: permitted by look/permit[0]")
    assert "note: sent to the host as: echo a b" in done.stdout
