"""Ways to make more of the gate's own way to a host: of its certificates, its authorities. The host
is a real sshd, and it is the host that refuses."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from unittest.mock import AsyncMock, MagicMock

import pytest

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.foundation import SshKey
from taskgate.gateway.ssh_trust import HostKeys
from taskgate.model.clock import Clock
from taskgate.model.errors import NotRecorded, StoreUnavailable
from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_KEY_ID_BYTES
from taskgate.model.ports import KnownHostStore
from taskgate.model.resource import Credential, HostTrust, KnownHost, Resource, TlsMode
from taskgate.protocols.ssh.certificates import key_id
from tests.hosts import Host, running_host
from tests.ssh.authorities import fields, key_of_gate, straight, write_pair
from tests.ssh_setting import SshSetting, running_ssh_gate, ssh_host

__all__ = ["ssh_host"]

MINTED = """
kind: Resource
name: target
protocol: ssh
address: 127.0.0.1:{port}
host_keys: {host_key}
credential: {{username: {user}, certificate: minted, source_addresses: {seen}}}
"""
TASKS = """
kind: Task
name: ops
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **", "id"]
certificate: {principals: [web-restart], force_command: true}
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_host() as host:
        (host.root / "authorized_keys").write_text("")
        document = MINTED.format(
            port=host.port, host_key=host.host_key, user=host.account.name, seen="127.0.0.1"
        )
        with running_ssh_gate(host, TASKS, document=document) as found:
            host.trust(found.own.command("operator", "ssh-ca").stdout, "web-restart")
            yield found


@pytest.fixture(scope="module")
def authority(place: SshSetting) -> bytes:
    return key_of_gate(place, SshKey.UPSTREAM_CA)


def test_a_stolen_certificate_runs_the_judged_command_and_nothing_else(
    place: SshSetting, authority: bytes, tmp_path: Path
) -> None:
    key = write_pair(tmp_path, authority, fields(force_command="echo judged"))
    for text in ("id", "touch /tmp/tg-x", "", "sftp"):
        done = straight(place.host, key, text)
        assert (done.returncode, done.stdout) == (0, "judged\n"), done.stderr
    assert straight(place.host, key, "sftp", "-s").stdout == "judged\n"


def test_a_stolen_certificate_for_files_runs_no_command(
    place: SshSetting, authority: bytes, tmp_path: Path
) -> None:
    key = write_pair(tmp_path, authority, fields(force_command="internal-sftp"))
    mark = place.host.mark()
    straight(place.host, key, "touch /tmp/tg-x")
    assert place.host.commands_since(mark) == []


@pytest.mark.parametrize(
    "options",
    [("-tt",), ("-R", "0:127.0.0.1:1"), ("-R", "/tmp/tg-x.sock:127.0.0.1:1")],
    ids=["terminal", "remote port", "remote socket"],
)
def test_a_stolen_certificate_gives_no_terminal_and_no_forwarding(
    place: SshSetting, authority: bytes, tmp_path: Path, options: tuple[str, ...]
) -> None:
    key = write_pair(tmp_path, authority, fields(force_command="tty"))
    done = straight(place.host, key, "", "-o", "ExitOnForwardFailure=yes", *options)
    assert "/dev/pts" not in done.stdout
    assert done.returncode != 0


def test_a_stolen_certificate_is_no_way_through(
    place: SshSetting, authority: bytes, tmp_path: Path
) -> None:
    key = write_pair(tmp_path, authority, fields())
    done = straight(place.host, key, "", "-W", f"127.0.0.1:{place.host.port}")
    assert "SSH-2.0" not in done.stdout
    assert done.returncode != 0
    # The attempt is a true one: with the extension it leads through.
    key = write_pair(tmp_path, authority, fields(permit_port_forwarding=True))
    done = straight(place.host, key, "", "-W", f"127.0.0.1:{place.host.port}")
    assert "SSH-2.0" in done.stdout


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"principals": ("root",)}, "another principal"),
        ({"principals": ()}, "no principal at all"),
        ({"valid_after": 1, "valid_before": int(time.time()) - 1}, "over"),
        ({"valid_after": int(time.time()) + 86_400, "valid_before": 2**32}, "early"),
        ({"source_addresses": ("10.9.9.9",)}, "from elsewhere"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_host_does_not_take(
    place: SshSetting, authority: bytes, tmp_path: Path, changed: dict[str, object], why: str
) -> None:
    good = write_pair(tmp_path, authority, fields(source_addresses=("127.0.0.1",)))
    assert straight(place.host, good, "echo in").stdout == "in\n", why
    key = write_pair(tmp_path, authority, fields(**changed))
    done = straight(place.host, key, "echo in")
    assert (done.returncode, done.stdout) == (255, "")
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize("purpose", [SshKey.CLIENT_CA, SshKey.GATE_CA, SshKey.HOST])
def test_what_opens_the_gate_does_not_open_a_host(
    place: SshSetting, tmp_path: Path, purpose: SshKey
) -> None:
    key = write_pair(tmp_path, key_of_gate(place, purpose), fields())
    done = straight(place.host, key, "echo in")
    assert (done.returncode, done.stdout) == (255, "")


def test_the_certificate_is_good_from_the_gateway_alone(place: SshSetting) -> None:
    host = place.host
    document = MINTED.format(
        port=host.port, host_key=host.host_key, user=host.account.name, seen="10.9.9.9"
    )
    with running_ssh_gate(host, TASKS, document=document) as far:
        before = (host.root / "user_ca").read_text()
        host.trust(far.own.command("operator", "ssh-ca").stdout, "web-restart")
        try:
            done = far.ssh("ops", "echo x")
        finally:
            host.trust(before, "web-restart")
    assert done.returncode == 125
    assert "does not let the gate in" in done.stderr


@pytest.mark.cap("MAX_KEY_ID_BYTES")
def test_a_person_with_an_odd_name_writes_no_line_into_the_hosts_log() -> None:
    said = key_id("local:a\n\x1b[2J task=other session=s_0 é" + "x" * 500, "ops", "s_1")
    assert said.isascii()
    assert said.isprintable()
    assert said.endswith(" task=ops session=s_1")
    assert said.count(" ") == 2
    assert len(said) == MAX_KEY_ID_BYTES


def test_no_certificate_outlives_its_grant(place: SshSetting) -> None:
    made = place.own.ask(
        "operator", "POST", "/v1/grants", {"task": "ops", "reason": "a test", "lasts_s": 60}
    )
    assert place.ssh("ops", "id", token=str(made["token"])).returncode == 0
    told = [f for kind, f in place.recorded("ops") if kind == EventKind.UPSTREAM_REACHED]
    ends = told[0]["certificate"]["valid_before"]
    assert ends <= made["grant"]["expires_at"] < ends + 2


class _NoStore:
    """A store that is away."""

    async def get(self, resource: str, address: str) -> KnownHost | None:
        raise StoreUnavailable("the state store is away")

    add = list = forget = get


async def test_a_host_is_not_met_anew_while_the_store_is_away(place: SshSetting) -> None:
    host = place.host
    resource = Resource(
        "target", "ssh", "127.0.0.1", host.port, TlsMode.DISABLE, Credential("ops"),
        host_trust=HostTrust(first_use=True),
    )  # fmt: skip
    mark = host.log.read_text().count("Connection from")
    keys = HostKeys(cast(KnownHostStore, _NoStore()), Clock())
    with pytest.raises(StoreUnavailable):
        await keys.trust(resource, cast(TaskGate, None), None)
    assert host.log.read_text().count("Connection from") == mark


async def test_of_two_first_keys_one_counts_for_both(place: SshSetting) -> None:
    """Somebody in the middle of one of two first connections: the other's key stays."""
    host = place.host
    kept = KnownHost("target", f"127.0.0.1:{host.port}", "ssh-ed25519 AAAA", 1.0, "local:other")

    class Raced(_NoStore):
        async def get(self, resource: str, address: str) -> KnownHost | None:
            return None

        async def add(self, found: KnownHost) -> KnownHost:  # type: ignore[override]
            assert found.key == host.host_key
            return kept

    resource = Resource(
        "target", "ssh", "127.0.0.1", host.port, TlsMode.DISABLE, Credential("ops"),
        host_trust=HostTrust(first_use=True),
    )  # fmt: skip
    gate = MagicMock()
    gate.recording.settle = AsyncMock()
    trust = await HostKeys(cast(KnownHostStore, Raced()), Clock()).trust(resource, gate, None)
    assert trust == HostTrust(keys=(kept.key,))


async def test_a_first_key_that_cannot_be_recorded_is_not_kept(place: SshSetting) -> None:
    class Empty(_NoStore):
        async def get(self, resource: str, address: str) -> KnownHost | None:
            return None

        async def add(self, found: KnownHost) -> KnownHost:  # type: ignore[override]
            raise AssertionError("it was kept")

    resource = Resource(
        "target", "ssh", "127.0.0.1", place.host.port, TlsMode.DISABLE, Credential("ops"),
        host_trust=HostTrust(first_use=True),
    )  # fmt: skip
    gate = MagicMock()
    gate.recording.settle = AsyncMock(side_effect=NotRecorded("the disk is full"))
    with pytest.raises(NotRecorded):
        await HostKeys(cast(KnownHostStore, Empty()), Clock()).trust(resource, gate, None)
