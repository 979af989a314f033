"""The steps by which VS Code's Remote - SSH starts, taken with OpenSSH: a script for bash on
standard input sets a server up at the host, which is reached through dynamic forwarding."""

import socket
import subprocess
from collections.abc import Iterator

import pytest

from taskgate.demo.cluster import free_port
from taskgate.model.event import EventKind
from tests.hosts import Host
from tests.ssh_clients import documented_tasks
from tests.ssh_setting import SshSetting, running_ssh_gate

SCRIPT = r"""
export VSCODE_AGENT_FOLDER="$HOME/.vscode-server"
echo "a1b2: running"
mkdir -p "$VSCODE_AGENT_FOLDER/bin" && cd "$VSCODE_AGENT_FOLDER" || exit 1
PLATFORM=$(uname -s); ARCH=$(uname -m)
if [[ ! -f server.py ]]; then
cat > server.py <<'END'
import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    for _ in range(2):
        client, _ = listener.accept()
        with client:
            while data := client.recv(65536):
                client.sendall(data.upper())
END
fi
rm -f .log
nohup python3 server.py > .log 2>/dev/null < /dev/null &
for i in $(seq 300); do [ -s .log ] && break; sleep 0.1; done
echo "a1b2: start"
echo "SSH_AUTH_SOCK==$SSH_AUTH_SOCK=="
echo "listeningOn==$(cat .log)=="
echo "osReleaseId==$PLATFORM-$ARCH=="
echo "a1b2: end"
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, documented_tasks(ssh_host)) as found:
        yield found


@pytest.mark.parametrize("command", ["bash", "bash --login -c bash", "sh"])
def test_its_server_is_started_and_reached(place: SshSetting, command: str) -> None:
    local = free_port()
    script = SCRIPT.replace("[[", "[").replace("]]", "]") if command == "sh" else SCRIPT
    options = ("-T", "-D", f"127.0.0.1:{local}", "-o", "ConnectTimeout=60")
    process = subprocess.Popen(
        [*place.arguments("editor", *options), command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=place.environment(place.grant("editor")),
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(script)
        process.stdin.flush()
        said: dict[str, str] = {}
        for line in process.stdout:
            if "==" in line:
                name, value, _ = line.split("==")
                said[name] = value
            if line == "a1b2: end\n":
                break
        assert said["osReleaseId"].startswith("Linux-"), said
        assert said["SSH_AUTH_SOCK"] == ""
        # The shell stays while the editor talks to its server, over two connections.
        for number in range(2):
            assert through_socks(local, int(said["listeningOn"]), b"hello %d" % number)
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(60) == 0
    events = place.recorded("editor")
    asked = [facts["text"] for kind, facts in events if kind == EventKind.REQUEST_PERMITTED]
    assert asked == [command, *[f"forwarding to 127.0.0.1:{said['listeningOn']}"] * 2]


def through_socks(local: int, port: int, data: bytes) -> bool:
    with socket.create_connection(("127.0.0.1", local), timeout=60) as client:
        client.sendall(b"\x05\x01\x00")
        assert client.recv(2) == b"\x05\x00"
        client.sendall(b"\x05\x01\x00\x01" + bytes((127, 0, 0, 1)) + port.to_bytes(2))
        if client.recv(10)[1] != 0:
            return False
        client.sendall(data)
        return client.recv(100) == data.upper()
