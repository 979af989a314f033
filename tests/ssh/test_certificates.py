"""Certificates that the gate signs for itself: a host lets it in by them alone, and its own log
names the person and the task."""

import re
from collections.abc import Iterator

import pytest

from taskgate.demo.cluster import free_port
from taskgate.model.event import EventKind
from tests.hosts import Host, running_host
from tests.patience import eventually
from tests.recorded import contents
from tests.ssh_forwarding import ask, connects, echo, serving, tunnel
from tests.ssh_setting import SshSetting, running_ssh_gate

MINTED = """
kind: Resource
name: target
protocol: ssh
address: 127.0.0.1:{port}
host_keys: {host_key}
credential: {{username: {user}, certificate: minted}}
"""
TASKS = """
kind: Task
name: restart
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **", "sleep *", "tty"]
  - {see: ["/**"]}
certificate: {principals: [web-restart], lasts: 2m}
---
kind: Task
name: forced
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **", "cat", "tty", "sleep *"]
  - {see: ["/**"]}
  - terminal: [tty]
  - env: [LANG]
  - {forward: ["127.0.0.1:*"], listen: ["localhost:*"]}
certificate: {principals: [web-restart], force_command: true}
---
kind: Task
name: stranger
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **"]
---
kind: Task
name: looks
resource: target
for: {groups: [testers]}
permit:
  - forward: ["127.0.0.1:*"]
  - run: ["tty"]
  - terminal: [tty]
certificate: {principals: [web-restart]}
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_host() as host:
        # Nobody gets in by a plain key.
        (host.root / "authorized_keys").write_text("")
        document = MINTED.format(port=host.port, host_key=host.host_key, user=host.account.name)
        with running_ssh_gate(host, TASKS, document=document) as found:
            host.trust(found.own.command("operator", "ssh-ca").stdout, "web-restart")
            yield found


def reached(setting: SshSetting, task: str) -> list[dict[str, object]]:
    return [facts for kind, facts in setting.recorded(task) if kind == EventKind.UPSTREAM_REACHED]


def test_a_host_lets_the_gate_in_by_a_certificate_of_this_session(place: SshSetting) -> None:
    done = place.ssh("restart", "echo x")
    assert (done.returncode, done.stdout) == (0, "x\n"), done.stderr
    (facts,) = reached(place, "restart")
    told = facts["certificate"]
    assert isinstance(told, dict)
    assert told["principals"] == ["web-restart"]
    assert told["permits"] == []
    session = place.newest_session("restart")
    # As the host's own sshd tells it (LogLevel VERBOSE).
    accepted = re.compile(rf"Accepted publickey .*ID (.+) \(serial {told['serial']}\) CA .*")
    line = eventually(lambda: accepted.search(place.host.log.read_text()))
    assert line is not None
    assert line[1] == f"local:operator task=restart session={session}"
    assert str(told["key"]) in line[0]


def test_each_session_has_a_key_of_its_own(place: SshSetting) -> None:
    keys = set()
    for _ in range(2):
        assert place.ssh("restart", "echo x").returncode == 0
        (facts,) = reached(place, "restart")
        keys.add(str(facts["certificate"]))
    assert len(keys) == 2


def test_a_task_without_the_principal_is_not_let_in(place: SshSetting) -> None:
    done = place.ssh("stranger", "echo x")
    assert done.returncode == 125
    name = place.host.account.name
    assert (
        f"does not let the gate in as {name} by a certificate for {name}, good from" in done.stderr
    )
    assert "TrustedUserCAKeys" in done.stderr


def test_a_forced_command_has_a_certificate_for_itself(place: SshSetting) -> None:
    path = place.client / "mux"
    mark = place.host.mark()
    with place.master("forced", path):
        options = ("-o", f"ControlPath={path}")
        for text in ("echo one", 'echo "two  words"'):
            assert place.ssh("forced", text, *options, token="-").returncode == 0
        done = place.ssh("forced", "cat", *options, token="-", stdin="through\n")
        assert done.stdout == "through\n"
    assert place.host.commands_since(mark) == ["echo one", "echo 'two  words'", "cat"]
    told = [facts["certificate"] for facts in reached(place, "forced")]
    assert [one["force_command"] for one in told] == ["echo one", "echo 'two  words'", "cat"]  # type: ignore[index]
    assert len({str(one) for one in told}) == 3
    # The host itself says that it ran what the certificate forces.
    said = "Starting session: forced-command (key-option) 'echo one'"
    eventually(lambda: said in place.host.log.read_text(), f"no {said}")


def test_files_and_terminals_of_a_forced_task(place: SshSetting) -> None:
    done = place.sftp("forced", "get /etc/hostname /dev/null")
    assert done.returncode == 0, done.stderr
    (facts,) = reached(place, "forced")
    assert facts["certificate"]["force_command"] == "internal-sftp"  # type: ignore[index]
    assert "/dev/pts/" in place.ssh("forced", "tty", "-tt").stdout
    assert "not a tty" in place.ssh("forced", "tty").stdout


def test_terminals_where_the_task_permits_them(place: SshSetting) -> None:
    assert "/dev/pts/" in place.ssh("looks", "tty", "-tt").stdout
    (facts,) = reached(place, "looks")
    permits = facts["certificate"]["permits"]  # type: ignore[index]
    assert permits == ["permit-port-forwarding", "permit-pty"]


def test_the_private_key_is_nowhere(place: SshSetting) -> None:
    place.ssh("restart", "echo x")
    place.recorded("restart")
    for file, content in contents(place.own.directory).items():
        assert b"OPENSSH PRIVATE KEY" not in content, file


@pytest.mark.parametrize("task", ["looks", "forced"])
def test_a_host_carries_connections_by_a_certificate_that_says_so(
    place: SshSetting, task: str
) -> None:
    with serving(echo) as server:
        for _ in range(2):
            done = place.ssh(task, "", "-W", f"127.0.0.1:{server.port}", stdin="x")
            assert done.stdout == "x.", done.stderr
    if task == "forced":
        (facts,) = reached(place, task)
        told = facts["certificate"]
        assert isinstance(told, dict)
        assert told["force_command"] == "exit 126"


def test_with_forced_commands_ports_are_listened_on_too(place: SshSetting) -> None:
    at = free_port()
    with serving(echo) as server, tunnel(place, "forced", "-R", f"{at}:127.0.0.1:{server.port}"):
        eventually(lambda: connects(at))
        assert ask(at, b"x") == b"x."
