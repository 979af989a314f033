"""What goes wrong between client, gate and host: nothing is lost silently, nothing hangs, memory
stays bounded, and a command that did not run leaves nothing behind."""

import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from taskgate.model.event import EventKind
from tests.hosts import Host, running_host
from tests.patience import eventually
from tests.ssh_setting import SshSetting, running_ssh_gate

TASK = """
kind: Task
name: look
resource: target
for: {groups: [testers]}
permit:
  - run: ["cat **", "echo **", "sleep *"]
  - {see: ["/**"]}
"""


def test_a_host_that_dies_is_told_and_reached_anew(tmp_path: Path) -> None:
    with running_host() as host, running_ssh_gate(host, TASK) as setting:
        path = setting.client / "mux"
        with setting.master("look", path):
            options = ("-o", f"ControlPath={path}")
            mark = host.mark()
            with setting.start("look", "sleep 60", *options, token="-") as running:
                eventually(lambda: host.commands_since(mark))
                host.drop_connections()
                _, said = running.communicate(timeout=60)
            assert running.returncode == 125
            assert "taskgate: " in said
            done = setting.ssh("look", "echo again", *options, token="-")
            assert (done.returncode, done.stdout) == (0, "again\n"), done.stderr
        finished = [f for k, f in setting.recorded("look") if k == EventKind.REQUEST_FINISHED]
    assert "reason" in finished[0]
    assert finished[1]["exit_status"] == 0


def test_a_shared_connection_hears_every_status(setting: SshSetting) -> None:
    """OpenSSH's ControlMaster takes no status once it has seen a channel's end."""
    path = setting.client / "mux-status"
    with setting.master("look", path):
        options = ("-o", f"ControlPath={path}")
        done = [setting.ssh("look", "echo x", *options, token="-") for _ in range(12)]
    assert [one.returncode for one in done] == [0] * 12


def test_a_gateway_that_is_killed_has_recorded_what_ran(ssh_host: Host) -> None:
    with running_ssh_gate(ssh_host, TASK) as setting:
        mark = ssh_host.mark()
        with setting.start("look", "sleep 45") as running:
            eventually(lambda: ssh_host.commands_since(mark))
            setting.own.kill()
            running.communicate(timeout=60)
        assert running.returncode == 255
        written = b"".join(p.read_bytes() for p in setting.own.recordings.rglob("*.tgr"))
        assert b'"sleep 45"' in written
        ssh_host.drop_connections()


def test_a_stop_drains_and_says_so(ssh_host: Host) -> None:
    with running_ssh_gate(ssh_host, TASK) as setting:
        mark = ssh_host.mark()
        with setting.start("look", "sleep 60") as running:
            eventually(lambda: ssh_host.commands_since(mark))
            setting.own.signal(signal.SIGTERM)
            _, said = running.communicate(timeout=60)
        assert "the gateway is being stopped" in said


def test_a_slow_reader_costs_no_memory(setting: SshSetting) -> None:
    before = setting.resident()
    with setting.start("look", "yes") as running:
        assert running.stdout is not None
        running.stdout.readline()
        # Nobody reads on: a host that is not held back would have sent gigabytes by then.
        time.sleep(5)
        assert setting.resident() - before < 40_000_000
        running.kill()


def test_a_slow_host_costs_no_memory(setting: SshSetting) -> None:
    before = setting.resident()
    with setting.start("look", "sleep 60") as running:
        assert running.stdin is not None
        os.set_blocking(running.stdin.fileno(), False)
        end, sent = time.monotonic() + 5, 0
        while time.monotonic() < end:
            try:
                sent += os.write(running.stdin.fileno(), b"x" * 65536)
            except BlockingIOError:
                time.sleep(0.05)
        assert sent < 60_000_000
        assert setting.resident() - before < 40_000_000
        running.kill()


def test_a_half_closed_channel_answers_on(setting: SshSetting) -> None:
    done = setting.ssh("look", "cat; echo done", stdin="x" * 10_000)
    assert done.stdout == "x" * 10_000 + "done\n"


def test_keys_are_exchanged_anew_in_the_middle(setting: SshSetting) -> None:
    data = os.urandom(8_000_000)
    done = subprocess.run(
        [*setting.arguments("look", "-v", "-o", "RekeyLimit=1M"), "cat"], input=data,
        capture_output=True, check=True, timeout=90,
        env=setting.environment(setting.grant("look")),
    )  # fmt: skip
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert done.stderr.count(b"SSH2_MSG_NEWKEYS received") > 2


@pytest.mark.parametrize("size", ["0x0", "1x1", "1000x1000"])
def test_terminals_of_odd_sizes(setting: SshSetting, size: str) -> None:
    columns, rows = size.split("x")
    script = f'stty cols {columns} rows {rows} 2>/dev/null; exec "$@"'
    done = subprocess.run(
        ["script", "-qec", _line(["sh", "-c", script, "-", *setting.arguments("look", "-tt"),
                                  "stty size"]), "/dev/null"],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        env=setting.environment(setting.grant("look")),
    )  # fmt: skip
    assert f"{rows} {columns}" in done.stdout


def test_with_the_disk_waited_for_all_is_as_before(ssh_host: Host) -> None:
    with running_ssh_gate(ssh_host, TASK, durability="disk") as setting:
        assert setting.ssh("look", "echo x").stdout == "x\n"
        done = setting.sftp("look", "get /etc/hostname /dev/null", "ls /etc/hostname")
        assert done.returncode == 0, done.stderr


def test_what_cannot_be_recorded_does_not_run(ssh_host: Host) -> None:
    with running_ssh_gate(ssh_host, TASK) as setting:
        path = setting.client / "mux"
        with setting.master("look", path):
            options = ("-o", f"ControlPath={path}")
            assert setting.ssh("look", "echo x", *options, token="-").returncode == 0
            mark = ssh_host.mark()
            setting.limit_file_size()
            done = setting.ssh("look", "echo y", *options, token="-")
            assert done.returncode != 0
            assert "y\n" not in done.stdout
            assert ssh_host.commands_since(mark) == []


def _line(words: list[str]) -> str:
    from taskgate.protocols.ssh.shell import quote

    return " ".join(map(quote, words))
