"""Hosts behind other hosts: the gate goes through them, with each one's own credential and key."""

from collections.abc import Iterator

import pytest

from taskgate.model.event import EventKind
from tests.hosts import Host, running_host
from tests.patience import eventually
from tests.ssh_setting import SshSetting, running_ssh_gate, ssh_host

__all__ = ["ssh_host"]

_HOST = """
kind: Resource
name: {name}
protocol: ssh
address: 127.0.0.1:{port}
host_keys: {trust}
{jump}
credential: {credential}
"""
_TASK = """
kind: Task
name: on-{name}
resource: {name}
for: {{groups: [testers]}}
permit:
  - run: ["echo **", "sleep *", "printenv SSH_CONNECTION"]
  - {{see: ["/**"]}}
"""


def _document(target: Host, bastion: Host) -> str:
    user = target.account.name
    key = "{username: " + user + ", private_key: {file: " + str(target.key) + "}}"
    minted = "{username: " + user + ", certificate: minted, source_addresses: 127.0.0.1}"
    hosts = (
        ("bastion", bastion, bastion.host_key, "", minted),
        ("inner", bastion, "first-use", "jump: [bastion]", minted),
        ("target", target, target.host_key, "jump: [inner]", key),
        ("listed", target, "first-use", "jump: [bastion, outer]", key),
        ("outer", bastion, bastion.host_key, "", minted),
        ("wrong", target, bastion.host_key, "jump: [bastion]", key),
        ("lost", target, target.host_key, "jump: [stranger]", key),
        ("stranger", bastion, target.host_key, "", minted),
    )
    return "---\n".join(
        _HOST.format(name=name, port=host.port, trust=trust, jump=jump, credential=credential)
        for name, host, trust, jump, credential in hosts
    )


NAMES = ("target", "listed", "wrong", "lost")


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[tuple[SshSetting, Host]]:
    with running_host() as bastion, running_host() as target:
        (bastion.root / "authorized_keys").write_text("")
        tasks = [_TASK.format(name=name) for name in NAMES]
        with running_ssh_gate(target, *tasks, document=_document(target, bastion)) as found:
            ca = found.own.command("operator", "ssh-ca").stdout
            bastion.trust(ca, bastion.account.name)
            yield found, bastion


def reached(setting: SshSetting, task: str) -> dict[str, object]:
    (facts,) = (f for kind, f in setting.recorded(task) if kind == EventKind.UPSTREAM_REACHED)
    return facts


@pytest.mark.parametrize(
    ("name", "way"), [("target", ["bastion", "inner"]), ("listed", ["bastion", "outer"])]
)
def test_a_host_behind_two_others(
    place: tuple[SshSetting, Host], name: str, way: list[str]
) -> None:
    setting, bastion = place
    mark = bastion.mark()
    done = setting.ssh(f"on-{name}", "echo x")
    assert (done.returncode, done.stdout) == (0, "x\n"), done.stderr
    facts = reached(setting, f"on-{name}")
    steps = facts["via"]
    assert isinstance(steps, list)
    assert [step["resource"] for step in steps] == way
    for step in steps:
        assert step["host_key"].startswith("SHA256:")
        assert step["host_key"] != facts["host_key"]
        assert step["certificate"]["force_command"] == "exit 126"
        assert step["certificate"]["permits"] == ["permit-port-forwarding"]
        assert step["certificate"]["principals"] == [bastion.account.name]
    # Nothing was run on the way.
    assert bastion.commands_since(mark) == []
    assert setting.sftp(f"on-{name}", "get /etc/hostname /dev/null").returncode == 0


def test_nothing_stays_open_on_the_way(place: tuple[SshSetting, Host]) -> None:
    setting, bastion = place
    assert setting.ssh("on-target", "echo x").returncode == 0
    setting.recorded("on-target")
    eventually(lambda: bastion.connections() == 0)


def test_which_host_it_was_is_said(place: tuple[SshSetting, Host]) -> None:
    setting, _ = place
    done = setting.ssh("on-wrong", "echo x")
    assert done.returncode == 125
    assert "resource wrong at 127.0.0.1:" in done.stderr
    assert "through bastion, showed a host key that is not the one" in done.stderr
    done = setting.ssh("on-lost", "echo x")
    assert done.returncode == 125
    assert "resource stranger at 127.0.0.1:" in done.stderr
    refused = [f for k, f in setting.recorded("on-lost") if k == EventKind.HOST_KEY_REFUSED]
    assert [one["resource"] for one in refused] == ["stranger"]


def test_a_host_on_the_way_that_goes_down(place: tuple[SshSetting, Host]) -> None:
    setting, bastion = place
    path = setting.client / "mux-way"
    with setting.master("on-target", path):
        options = ("-o", f"ControlPath={path}")
        mark = setting.host.mark()
        with setting.start("on-target", "sleep 60", *options, token="-") as running:
            eventually(lambda: setting.host.commands_since(mark))
            bastion.drop_connections()
            _, said = running.communicate(timeout=60)
        assert running.returncode == 125, said
        assert "taskgate: " in said
        done = setting.ssh("on-target", "echo again", *options, token="-")
        assert (done.returncode, done.stdout) == (0, "again\n"), done.stderr


def test_a_host_on_the_way_that_forwards_nothing(place: tuple[SshSetting, Host]) -> None:
    setting, bastion = place
    bastion.restart("AllowTcpForwarding no\n")
    try:
        done = setting.ssh("on-target", "echo x")
    finally:
        bastion.restart()
    assert done.returncode == 125
    assert "through bastion, cannot be reached" in done.stderr
    assert "AllowTcpForwarding" in done.stderr


def test_the_tasks_holder_has_no_right_on_the_way(place: tuple[SshSetting, Host]) -> None:
    setting, bastion = place
    mark = bastion.mark()
    token = setting.grant("on-target")
    for user in ("on-target+bastion", "on-target+inner", "on-bastion"):
        assert setting.ssh(user, "echo x", token=token).returncode == 255
    assert bastion.commands_since(mark) == []
