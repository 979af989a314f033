"""The demo's stand-in for OpenSSH's client, through a gate: it shows what ssh shows, and trusts no
more than ssh does."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from taskgate.cli.ssh import program_text
from taskgate.demo.host import new_key, public_key
from tests.ssh_setting import SshSetting

_CONFIG = """
Host target
  HostName localhost
  Port {port}
  User {task}
  UserKnownHostsFile "{known}"
  GlobalKnownHostsFile /dev/null
"""


def stand_in(
    setting: SshSetting, tmp_path: Path, program: str, *words: str,
    task: str = "look", known: str = "", stdin: str = "",
) -> "subprocess.CompletedProcess[str]":  # fmt: skip
    trusted = tmp_path / "known_hosts"
    trusted.write_text(known or (setting.client / "known_hosts").read_text())
    config = tmp_path / "config"
    config.write_text(_CONFIG.format(port=setting.port, task=task, known=trusted))
    # As the demo has it, behind what `taskgate exec` puts before any ssh.
    lent = tmp_path / f"lent-{program}"
    lent.write_text(
        f'#!/bin/sh\nexec {sys.executable} -m taskgate.demo.ssh_client {program} "$@"\n'
    )
    before = tmp_path / program
    before.write_text(program_text(str(lent), str(config), "target"))
    for script in (lent, before):
        script.chmod(0o700)
    return subprocess.run(
        [before, *words],
        input=stdin, capture_output=True, text=True, check=False, timeout=60,
        env=setting.environment(setting.grant(task)),
    )  # fmt: skip


def test_it_shows_both_outputs_and_the_status(setting: SshSetting, tmp_path: Path) -> None:
    said = stand_in(setting, tmp_path, "ssh", "target", "wc -c", stdin="12345")
    assert (said.returncode, said.stdout.strip(), said.stderr) == (0, "5", "")
    said = stand_in(setting, tmp_path, "ssh", "target", "false")
    assert said.returncode == 1


def test_a_refusal_is_shown_as_ssh_shows_it(setting: SshSetting, tmp_path: Path) -> None:
    said = stand_in(setting, tmp_path, "ssh", "target", "cat /etc/shadow")
    assert said.returncode == 126
    assert "look/deny[0]" in said.stderr


def test_another_host_key_is_not_trusted(setting: SshSetting, tmp_path: Path) -> None:
    known = f"[localhost]:{setting.port} {public_key(new_key())}\n"
    said = stand_in(setting, tmp_path, "ssh", "target", "id", known=known)
    assert said.returncode == 255
    assert "Host key verification failed" in said.stderr
    assert said.stdout == ""


def test_scp_says_why_a_file_stays_there(setting: SshSetting, tmp_path: Path) -> None:
    fetched = tmp_path / "fetched"
    said = stand_in(setting, tmp_path, "scp", "target:/etc/hostname", str(fetched))
    assert said.returncode == 1
    assert not fetched.exists()
    assert "no rule of task look permits it" in said.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("sftp", "target"),
        ("scp", "one"),
        ("ssh",),
        ("ssh", "-o", "ProxyCommand=id", "target", "id"),
    ],
)
def test_what_it_does_not_know_it_says(
    setting: SshSetting, tmp_path: Path, words: tuple[str, ...]
) -> None:
    said = stand_in(setting, tmp_path, *words)
    assert said.returncode == 255
    assert "apt-get install openssh-client" in said.stderr


def test_a_terminal_is_passed_on(setting: SshSetting, tmp_path: Path) -> None:
    stand_in(setting, tmp_path, "ssh", "target", "id")  # writes the configuration
    arguments = [
        sys.executable, "-m", "taskgate.demo.ssh_client", "ssh", "-F", str(tmp_path / "config"),
        "-t", "target", "tty",
    ]  # fmt: skip
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        arguments, stdin=theirs, stdout=subprocess.PIPE, text=True,
        env=setting.environment(setting.grant("look")),
    )  # fmt: skip
    os.close(theirs)
    out, _ = done.communicate(timeout=60)
    os.close(ours)
    assert out.startswith("/dev/pts/")
    assert done.returncode == 0
