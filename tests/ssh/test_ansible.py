"""Ansible through the gate, as its users run it: `taskgate exec TASK -- ansible-playbook`."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.model.event import EventKind
from tests.hosts import Host
from tests.ssh_clients import documented_tasks, need
from tests.ssh_setting import SshSetting, running_ssh_gate

PLAYBOOK = """
- hosts: all
  gather_facts: true
  vars: {who: world}
  tasks:
    - name: a file
      copy: {src: big, dest: "PLACE/big", mode: "0640"}
    - name: a template
      template: {src: hello.j2, dest: "PLACE/hello"}
    - name: a command
      command: cat PLACE/hello
      register: said
    - name: shell text
      shell: "echo $((1+1)) | tee PLACE/two"
    - name: a line of a file
      lineinfile: {path: "PLACE/hello", line: more}
    - name: a service that is none
      wait_for: {path: "PLACE/hello", timeout: 5}
    - name: a file back
      fetch: {src: "PLACE/hello", dest: back, flat: true}
    - name: as it should be
      assert: {that: ["said.stdout == 'hello world'", "ansible_python_version is defined"]}
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    need("ansible-playbook", "ansible-core")
    with running_ssh_gate(ssh_host, documented_tasks(ssh_host)) as found:
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    """The playbook's; a short path, for OpenSSH puts a socket below it."""
    with tempfile.TemporaryDirectory(prefix="tga-", dir="/tmp") as found:
        yield Path(found)


def play(
    place: SshSetting, folder: Path, task: str, playbook: str = PLAYBOOK, **settings: str
) -> "subprocess.CompletedProcess[str]":
    place.host.run(f"rm -rf {place.home}/put && mkdir -p {place.home}/put {place.home}/ansible")
    (folder / "site.yml").write_text(playbook.replace("PLACE", f"{place.home}/put"))
    (folder / "hello.j2").write_text("hello {{ who }}")
    (folder / "big").write_bytes(b"0123456789" * 50_000)
    (folder / "inventory").write_text("target\n")
    command = (
        "exec", task, "--reason", "a test", "--", "ansible-playbook", "-i", "inventory", "site.yml",
    )  # fmt: skip
    return subprocess.run(
        [*place.own.program, *command], cwd=folder, capture_output=True, text=True, check=False,
        timeout=300, stdin=subprocess.DEVNULL,
        env={
            **place.own.surroundings("operator"), "HOME": str(folder), "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0", **settings,
        },
    )  # fmt: skip


def commands(place: SshSetting, task: str) -> list[str]:
    return [f["text"] for kind, f in place.recorded(task) if kind == EventKind.REQUEST_PERMITTED]


@pytest.mark.parametrize("pipelining", ["False", "True"])
@pytest.mark.parametrize("task", ["ansible", "ansible-sftp"])
def test_a_playbook(place: SshSetting, folder: Path, task: str, pipelining: str) -> None:
    remote = {"ANSIBLE_REMOTE_TMP": f"{place.home}/ansible"} if task == "ansible-sftp" else {}
    done = play(place, folder, task, ANSIBLE_PIPELINING=pipelining, **remote)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed=0" in done.stdout
    assert place.host.run(f"cat {place.home}/put/two") == "2\n"
    assert place.host.run(f"wc -c < {place.home}/put/big").strip() == "500000"
    assert (folder / "back").read_text() == "hello world\nmore\n"
    asked = commands(place, task)
    assert any(text.startswith("write ") for text in asked) is (task == "ansible-sftp")


def test_one_connection_for_all_that_ends_with_the_grant(place: SshSetting, folder: Path) -> None:
    def sessions() -> set[str]:
        found = place.own.ask("operator", "GET", "/v1/sessions?task=ansible&limit=100")
        return {one["id"] for one in found}

    before = sessions()
    done = play(
        place, folder, "ansible", ANSIBLE_SSH_ARGS="-o ControlMaster=auto -o ControlPersist=1h"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(sessions() - before) == 1
    kind, facts = place.recorded("ansible")[-2]
    assert kind == EventKind.SESSION_CLOSED
    assert "revoked" in facts["reason"]


@pytest.mark.parametrize("way", ["piped", "sftp", "smart"])
def test_ways_to_bring_a_file(place: SshSetting, folder: Path, way: str) -> None:
    only = "- hosts: all\n  gather_facts: false\n  tasks: [{ping: }]\n"
    done = play(place, folder, "ansible", only, ANSIBLE_SSH_TRANSFER_METHOD=way)
    assert (done.returncode == 0) is (way != "sftp"), done.stdout + done.stderr
    if way == "sftp":
        assert "no rule of this task is about files" in done.stdout + done.stderr


def test_a_command_that_is_denied_fails_its_step(place: SshSetting, folder: Path) -> None:
    only = "- hosts: all\n  gather_facts: false\n  tasks: [{raw: 'echo x; sudo reboot now'}]\n"
    done = play(place, folder, "ansible", only)
    assert done.returncode != 0
    assert "not by a playbook" in done.stdout
