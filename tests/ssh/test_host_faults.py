"""Hosts that hang, speak only weak algorithms, or leave strict key exchange out: the client is
told, and nothing weak is agreed on."""

import contextlib
import secrets
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.hosts import Host, running_host
from tests.patience import eventually
from tests.ssh_setting import SshSetting, running_ssh_gate, ssh_host

__all__ = ["ssh_host"]

_KEXINIT = 20
_LISTS = ("kex", "host_key", "enc_cs", "enc_sc", "mac_cs", "mac_sc", "comp_cs", "comp_sc")
GOOD = {
    "kex": "curve25519-sha256", "host_key": "ssh-ed25519", "enc": "aes128-gcm@openssh.com",
    "mac": "hmac-sha2-256", "comp": "none",
}  # fmt: skip
WEAK = {
    "ciphers": ("Ciphers aes128-cbc\n", "encryption", "aes128-cbc"),
    "kex": ("KexAlgorithms diffie-hellman-group14-sha1\n", "key exchange", "-sha1"),
    "chacha": ("Ciphers chacha20-poly1305@openssh.com\n", "encryption", "chacha20-poly1305"),
    "macs": ("Ciphers aes128-ctr\nMACs hmac-sha1\n", "MAC", "hmac-sha1"),
    "etm": ("Ciphers aes128-ctr\nMACs hmac-sha2-256-etm@openssh.com\n", "MAC", "-etm@"),
}


def kexinit(lists: dict[str, str]) -> bytes:
    """A packet (RFC 4253, sections 6 and 7.1) before any keys."""
    names = [lists["kex"], lists["host_key"], *[lists["enc"]] * 2, *[lists["mac"]] * 2,
             *[lists["comp"]] * 2, "", ""]  # fmt: skip
    body = bytes([_KEXINIT]) + secrets.token_bytes(16)
    body += b"".join(struct.pack(">I", len(name)) + name.encode() for name in names)
    body += b"\0" + bytes(4)
    padding = 8 - (len(body) + 5) % 8 + 8
    return struct.pack(">IB", len(body) + padding + 1, padding) + body + bytes(padding)


def lists_of(payload: bytes) -> dict[str, list[str]]:
    found, at = {}, 17
    for name in _LISTS:
        (length,) = struct.unpack_from(">I", payload, at)
        found[name] = payload[at + 4 : at + 4 + length].decode().split(",")
        at += 4 + length
    return found


def talk(peer: socket.socket, lists: dict[str, str]) -> tuple[dict[str, list[str]], list[int]]:
    """Says a version and a KEXINIT; the other's KEXINIT, and the types of its next messages, to the
    end of the connection or to the first that is none of its own accord."""
    peer.settimeout(60)
    peer.sendall(b"SSH-2.0-Raw\r\n" + kexinit(lists))
    stream = peer.makefile("rb")
    while not stream.readline().startswith(b"SSH-2.0"):
        pass
    offered: dict[str, list[str]] = {}
    types = []
    # Who hangs up with something unread resets the connection: that is its end as well.
    with contextlib.suppress(ConnectionError):
        while len(head := stream.read(5)) == 5:
            length, padding = struct.unpack(">IB", head)
            payload = stream.read(length - 1)[: length - 1 - padding]
            if payload[0] == _KEXINIT:
                offered = lists_of(payload)
                continue
            types.append(payload[0])
            if payload[0] in (30, 31):
                # Key exchange has begun: an agreement there was.
                break
    return offered, types


class Raw:
    """A listener that treats one connection after another by `answer`."""

    def __init__(self) -> None:
        self.lists = GOOD
        self.hangs_after = b""
        self.seen: list[tuple[dict[str, list[str]], list[int]]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            if self.hangs_after:
                self._kept.append(peer)
                peer.sendall(self.hangs_after)
                continue
            with peer:
                try:
                    self.seen.append(talk(peer, self.lists))
                except OSError:
                    self.seen.append(({}, []))

    def close(self) -> None:
        self._listener.close()
        for peer in self._kept:
            peer.close()


@contextmanager
def raw_host() -> Iterator[Raw]:
    raw = Raw()
    try:
        yield raw
    finally:
        raw.close()


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[tuple[SshSetting, Raw]]:
    with ExitStack() as stack:
        raw = stack.enter_context(raw_host())
        ports = {"raw": raw.port}
        for name, (config, _, _) in WEAK.items():
            ports[name] = stack.enter_context(running_host(config)).port
        documents, tasks = [], []
        for name, port in ports.items():
            documents.append(
                f"kind: Resource\nname: {name}\nprotocol: ssh\naddress: 127.0.0.1:{port}\n"
                f"host_keys: {ssh_host.host_key}\ncredential: {{username: x, private_key:"
                f" {{file: {ssh_host.key}}}}}\n"
            )
            tasks.append(
                f"kind: Task\nname: on-{name}\nresource: {name}\nfor: {{groups: [testers]}}\n"
                "permit: [{run: [id]}]\n"
            )
        document = "---\n".join(documents)
        yield stack.enter_context(running_ssh_gate(ssh_host, *tasks, document=document)), raw


@pytest.mark.parametrize("name", list(WEAK))
def test_a_host_that_speaks_only_weak_algorithms(place: tuple[SshSetting, Raw], name: str) -> None:
    done = place[0].ssh(f"on-{name}", "id")
    _, kind, offered = WEAK[name]
    assert done.returncode == 125
    first, then = done.stderr.splitlines()[:2]
    if f"has no {kind} algorithm that the gate takes; it offers" in first:
        assert offered in first
    else:
        # OpenSSH has compared the lists as well, and hung up before its own was read.
        assert "closed the connection before the gate was signed in" in first
        assert "perhaps it has no algorithm that the gate takes" in then


@pytest.mark.parametrize("said", [b"\r\n", b"SSH-2.0-Hangs\r\n"], ids=["greeting", "key exchange"])
def test_a_host_that_hangs(place: tuple[SshSetting, Raw], said: bytes) -> None:
    setting, raw = place
    raw.hangs_after = said
    try:
        done = setting.ssh("on-raw", "id")
    finally:
        raw.hangs_after = b""
    assert done.returncode == 125
    assert "did not answer within 10 s" in done.stderr


# What Terrapin (CVE-2023-48795) needs of both sides, where one of them is not strict.
VULNERABLE = [
    {"enc": "chacha20-poly1305@openssh.com"},
    {"enc": "aes256-cbc", "mac": "hmac-sha2-256-etm@openssh.com"},
    {"enc": "aes128-ctr", "mac": "hmac-sha2-256-etm@openssh.com"},
    {"enc": "aes128-ctr", "mac": "hmac-sha1-etm@openssh.com"},
]


def ensure_safe(offered: dict[str, list[str]], strict: str) -> None:
    assert strict in offered["kex"]
    for name in ("enc_cs", "enc_sc"):
        assert not [one for one in offered[name] if "chacha" in one or "cbc" in one]
    for name in ("mac_cs", "mac_sc"):
        assert not [one for one in offered[name] if "-etm" in one or "sha1" in one]


def _next_seen(raw: Raw, before: int) -> tuple[dict[str, list[str]], list[int]]:
    """What the raw host saw of its next client: it may tell after that client has gone."""
    eventually(lambda: len(raw.seen) > before, "nobody came")
    return raw.seen[before]


@pytest.mark.parametrize("changed", VULNERABLE, ids=lambda one: "+".join(one.values()))
def test_a_host_without_strict_key_exchange_agrees_on_nothing_that_terrapin_needs(
    place: tuple[SshSetting, Raw], changed: dict[str, str]
) -> None:
    setting, raw = place
    before = len(raw.seen)
    raw.lists = GOOD | changed
    try:
        done = setting.ssh("on-raw", "id")
    finally:
        raw.lists = GOOD
    assert done.returncode == 125
    assert "algorithm that the gate takes; it offers" in done.stderr
    offered, types = _next_seen(raw, before)
    ensure_safe(offered, "kex-strict-c-v00@openssh.com")
    assert 30 not in types


@pytest.mark.parametrize("changed", VULNERABLE, ids=lambda one: "+".join(one.values()))
def test_a_client_without_strict_key_exchange_agrees_on_nothing_that_terrapin_needs(
    place: tuple[SshSetting, Raw], changed: dict[str, str]
) -> None:
    with socket.create_connection(("127.0.0.1", place[0].port)) as peer:
        offered, types = talk(peer, GOOD | changed)
    ensure_safe(offered, "kex-strict-s-v00@openssh.com")
    assert 31 not in types


def test_a_host_without_strict_key_exchange_and_a_safe_cipher_is_agreed_with(
    place: tuple[SshSetting, Raw],
) -> None:
    # So that the refusals above are those of the ciphers.
    setting, raw = place
    before = len(raw.seen)
    assert setting.ssh("on-raw", "id").returncode == 125
    assert 30 in _next_seen(raw, before)[1]
