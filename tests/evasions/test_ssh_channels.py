"""Ways round the rules by other means of SSH than a command: the user is refused, and the attempt
is in the recording."""

import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from taskgate.demo.cluster import free_port
from taskgate.model.event import EventKind
from tests.hosts import Host
from tests.recorded import contents
from tests.ssh_setting import SshSetting, running_ssh_gate, ssh_host

__all__ = ["ssh_host"]

TASKS = """
kind: Task
name: ops
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **", "printenv *", "id", "cat"]
  - env: ["LC_*"]
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS) as found:
        yield found


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A port of this machine, and what was sent to it."""
    heard: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    done = threading.Event()

    def listen() -> None:
        while not done.is_set():
            try:
                client, _ = server.accept()
            except OSError:
                continue
            heard.append(b"connected")
            client.close()

    thread = threading.Thread(target=listen)
    thread.start()
    yield server.getsockname()[1], heard
    done.set()
    thread.join()
    server.close()


def test_a_local_forwarding_reaches_nothing(
    place: SshSetting, listener: tuple[int, list[bytes]]
) -> None:
    port, heard = listener
    done = place.ssh("ops", "x", "-W", f"127.0.0.1:{port}", stdin="hello")
    assert done.returncode != 0
    assert "administratively prohibited" in done.stderr or "open failed" in done.stderr
    assert not heard
    assert f"forwarding to 127.0.0.1:{port}" in place.refused("ops")


def test_a_dynamic_forwarding_reaches_nothing(
    place: SshSetting, listener: tuple[int, list[bytes]]
) -> None:
    port, heard = listener
    path = place.client / "mux-d"
    with place.master("ops", path):
        local = free_port()
        options = ("-S", str(path), "-O", "forward", "-D", str(local))
        subprocess.run(place.arguments("ops", *options), check=True, capture_output=True)
        with socket.create_connection(("127.0.0.1", local), timeout=60) as socks:
            socks.sendall(b"\x05\x01\x00")
            assert socks.recv(2) == b"\x05\x00"
            host = b"127.0.0.1"
            socks.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host + port.to_bytes(2, "big"))
            assert socks.recv(100)[1:2] != b"\x00"
    assert not heard


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("-R", "0:127.0.0.1:1", "-o", "ExitOnForwardFailure=yes"), "listening on"),
        (("-R", "/tmp/tg-x.sock:127.0.0.1:1", "-o", "ExitOnForwardFailure=yes"), "listening on"),
        (("-A",), "agent forwarding"),
    ],
    ids=["remote port", "remote socket", "agent"],
)
def test_what_the_client_asks_besides_is_refused(
    place: SshSetting, options: tuple[str, ...], what: str
) -> None:
    with place.agent() as agent:
        done = place.ssh("ops", "printenv SSH_AUTH_SOCK", *options, more=agent)
    assert done.stdout == ""
    assert what in place.refused("ops")


def test_subsystems_and_shells_are_refused(place: SshSetting) -> None:
    mark = place.host.mark()
    done = place.ssh("ops", "sftp", "-s")
    assert done.returncode == 126
    assert "SFTP: no rule of this task is about files" in done.stderr
    shell = subprocess.run(
        place.arguments("ops", "-tt"), input="touch /tmp/x\n", capture_output=True, text=True,
        check=False, timeout=60, env=place.environment(place.grant("ops")),
    )  # fmt: skip
    assert shell.returncode == 126
    assert "a shell: nothing permits it" in shell.stdout + shell.stderr
    assert place.host.commands_since(mark) == []


@pytest.mark.parametrize("name", ["LD_PRELOAD", "BASH_ENV", "PATH", "GIT_SSH_COMMAND", "TG_X"])
def test_a_variable_that_no_rule_names_does_not_arrive(place: SshSetting, name: str) -> None:
    options = ("-o", f"SetEnv={name}=smuggled")
    done = place.ssh("ops", f"printenv {name}", *options)
    assert "smuggled" not in done.stdout


def test_functions_do_not_ride_in_on_a_permitted_variable(place: SshSetting) -> None:
    # Shellshock's form (CVE-2014-6271): a plain value to the host's shell of today.
    done = place.ssh("ops", "id", "-o", "SetEnv=LC_X='() { :; }; echo smuggled'")
    assert done.stdout.startswith("uid=")
    assert "smuggled" not in done.stdout


def test_a_second_channel_is_judged_like_the_first(place: SshSetting) -> None:
    path = place.client / "mux-2"
    with place.master("ops", path):
        options = ("-o", f"ControlPath={path}")
        assert place.ssh("ops", "echo x", *options, token="-").returncode == 0
        assert place.ssh("ops", "touch /tmp/x", *options, token="-").returncode == 126
        assert place.ssh("ops", "x", "-s", *options, token="-").returncode == 126


def test_a_token_opens_no_other_task_and_no_other_resource(place: SshSetting) -> None:
    token = place.grant("ops")
    for user in ("ops+other", "Ops", "ops ", "ops+", "+target", "ops+target+x", "root"):
        done = place.ssh(user, "id", token=token)
        assert done.returncode == (0 if user == "ops+" else 255), user


def test_the_hosts_credential_is_in_no_record(place: SshSetting) -> None:
    place.ssh("ops", "echo x")
    place.recorded("ops")
    secret = place.host.key.read_text().splitlines()[2].encode()
    for file, content in contents(place.own.directory).items():
        assert secret not in content, file
    kinds = [kind for kind, _ in place.recorded("ops")]
    assert EventKind.REQUEST_FINISHED in kinds
