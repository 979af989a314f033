"""Ways into the SSH listener with a key or certificate that should open nothing: the user is not
let in, and nothing runs at the host."""

import base64
import os
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import Boolean, String

from taskgate.demo.gate import GateFault, Person
from taskgate.gateway.config import load_config
from taskgate.gateway.foundation import SshKey, open_state, ssh_key_of
from taskgate.model.event import EventKind
from tests.gates import OPERATOR
from tests.hosts import Host
from tests.ssh_keys import challenge, pub, register, signature
from tests.ssh_setting import SshSetting, running_ssh_gate, ssh_host

__all__ = ["ssh_host"]

OTHER = Person("other", "has keys of their own", ("testers",))
TASKS = """
kind: Task
name: ops
resource: target
for: {groups: [testers]}
direct: true
permit:
  - run: ["id"]
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A gate whose operator holds a live grant of `ops`, and has a certificate and a key."""

    setting: SshSetting
    folder: Path
    key: Path

    def tried(
        self, key: Path, certificate: Path | None = None, user: str = "ops"
    ) -> "subprocess.CompletedProcess[str]":
        more = ["-o", f"CertificateFile={certificate}"] if certificate else []
        return subprocess.run(
            [
                "ssh", "-i", str(key), *more, "-o", "PubkeyAuthentication=yes",
                "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                "-o", "PreferredAuthentications=publickey",
                *self.setting.arguments(user)[1:], "id",
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def refused(self, key: Path, certificate: Path | None = None, user: str = "ops") -> str:
        mark = self.setting.host.mark()
        done = self.tried(key, certificate, user)
        assert done.returncode == 255, done.stdout
        assert self.setting.host.commands_since(mark) == []
        return done.stderr


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[Place]:
    with running_ssh_gate(ssh_host, TASKS, people=(OTHER,)) as setting:
        own = setting.own
        assert own.command("operator", "ssh-config").returncode == 0
        setting.grant("ops")
        key = made(setting.client, "registered")
        assert own.command("operator", "keys", "add", f"{key}.pub").returncode == 0
        yield Place(setting, own.profiles / "operator.ssh", key)


def made(folder: Path, name: str) -> Path:
    path = folder / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True
    )
    return path


def copied(place: Place, folder: Path) -> Path:
    """The operator's certified key, without its certificate."""
    own, copy = place.folder / "key", folder / "own"
    copy.write_bytes(own.read_bytes())
    copy.with_suffix(".pub").write_bytes(own.with_suffix(".pub").read_bytes())
    copy.chmod(0o600)
    return copy


def signed(ca: Path, key: Path, *options: str) -> Path:
    """A certificate by ssh-keygen itself."""
    subprocess.run(
        ["ssh-keygen", "-q", "-s", str(ca), "-I", "local:operator sign-in 0", *options,
         f"{key}.pub"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key.with_name(f"{key.name}-cert.pub")


async def authority(place: Place, purpose: SshKey, folder: Path) -> Path:
    """The gate's own authority, as somebody who had stolen it would have it."""
    async with open_state(load_config(place.setting.own.config)) as state:
        path = folder / purpose.value
        path.write_bytes(await ssh_key_of(state, purpose))
        path.chmod(0o600)
        return path


def serial_of(place: Place) -> str:
    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", str(place.folder / "key-cert.pub")],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return shown.split("Serial:")[1].split()[0]


def test_the_place_is_what_it_says(place: Place) -> None:
    assert place.tried(place.folder / "key").returncode == 0
    assert place.tried(place.key).returncode == 0


def test_a_certificate_by_another_authority(place: Place, tmp_path: Path) -> None:
    key = copied(place, tmp_path)
    certificate = signed(
        made(tmp_path, "ca"), key, "-n", "local:operator,ops", "-z", serial_of(place)
    )
    told = place.refused(key, certificate)
    assert "taskgate" not in told.replace("taskgate@", "")


async def test_a_certificate_by_the_wrong_one_of_the_gates_authorities(
    place: Place, tmp_path: Path
) -> None:
    for purpose in (SshKey.GATE_CA, SshKey.UPSTREAM_CA, SshKey.HOST):
        key = copied(place, tmp_path)
        ca = await authority(place, purpose, tmp_path)
        place.refused(key, signed(ca, key, "-n", "local:operator", "-z", serial_of(place)))


async def test_with_the_stolen_authority_only_what_the_gate_has_issued_counts(
    place: Place, tmp_path: Path
) -> None:
    ca = await authority(place, SshKey.CLIENT_CA, tmp_path)
    copy, serial = copied(place, tmp_path), serial_of(place)
    cases = {
        "no serial of ours": (made(tmp_path, "a"), ("-n", "local:operator", "-z", "7")),
        "another key": (made(tmp_path, "b"), ("-n", "local:operator", "-z", serial)),
        "another principal": (copy, ("-n", "local:other", "-z", serial)),
        "no principal": (copy, ("-z", serial)),
        "two principals": (copy, ("-n", "local:operator,local:other", "-z", serial)),
        "a host's certificate": (copy, ("-h", "-n", "local:operator", "-z", serial)),
        "a critical option": (
            copy, ("-n", "local:operator", "-z", serial, "-O", "force-command=id"),
        ),
        "an option nobody knows": (
            copy, ("-n", "local:operator", "-z", serial, "-O", "critical:x@example.com=1"),
        ),
        "over": (copy, ("-n", "local:operator", "-z", serial, "-V", "20200101:20200102")),
        "not yet": (copy, ("-n", "local:operator", "-z", serial, "-V", "20990101:20990102")),
    }  # fmt: skip
    for name, (key, options) in cases.items():
        print(name)
        place.refused(key, signed(ca, key, *options))
    # The very same, made anew with nothing changed, is what the gate has issued.
    assert place.tried(copy, signed(ca, copy, "-n", "local:operator", "-z", serial)).returncode == 0


def test_a_certificate_with_a_byte_changed(place: Place, tmp_path: Path) -> None:
    kind, text, *_ = (place.folder / "key-cert.pub").read_text().split()
    whole = base64.b64decode(text)
    key = copied(place, tmp_path)
    for at in range(60, len(whole), 37):
        changed = bytearray(whole)
        changed[at] ^= 1
        certificate = tmp_path / "own-cert.pub"
        certificate.write_text(f"{kind} {base64.b64encode(changed).decode()} x\n")
        # Where the client itself finds it broken, it offers the bare key, which opens nothing.
        place.refused(key, certificate)


def test_the_certificate_without_its_key(place: Place, tmp_path: Path) -> None:
    key = made(tmp_path, "key")
    place.refused(key, place.folder / "key-cert.pub")


def test_the_certified_key_without_its_certificate(place: Place, tmp_path: Path) -> None:
    place.refused(copied(place, tmp_path))


def test_an_unknown_key_hears_nothing_of_tasks_and_grants(place: Place, tmp_path: Path) -> None:
    key = made(tmp_path, "key")
    heard = {place.refused(key, user=user).replace(user, "USER") for user in ("ops", "nosuch")}
    assert len(heard) == 1


def test_the_clients_certificate_opens_no_host(place: Place) -> None:
    host = place.setting.host
    done = subprocess.run(
        [
            "ssh", "-F", "none", "-i", str(place.folder / "key"), "-o", "BatchMode=yes",
            "-o", f"CertificateFile={place.folder / 'key-cert.pub'}",
            "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-p", str(host.port),
            f"{host.account.name}@127.0.0.1", "id",
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


def test_a_key_is_registered_only_by_who_has_it(place: Place, tmp_path: Path) -> None:
    setting = place.setting
    key, mine = made(tmp_path, "theirs"), made(tmp_path, "mine")
    text = challenge(setting, key)["text"]
    of_mine = challenge(setting, mine)["text"]
    good = signature(key, text)
    cases = {
        "no signature": "none",
        "an empty one": good.splitlines()[0] + "\n" + good.splitlines()[-1],
        "by another key": signature(mine, text),
        "of another key's challenge": signature(key, of_mine),
        "of somebody else's challenge": signature(key, challenge(setting, key, "other")["text"]),
        "for another purpose": signature(key, text, "file"),
        "with a newline": signature(key, text + "\n"),
        "of an earlier sign-in": good,
        "cut short": "\n".join([*good.splitlines()[:-2], good.splitlines()[-1]]),
        "with more behind it": good + good,
    }
    setting.own.sign_in(OPERATOR)
    again = challenge(setting, key)["text"]
    assert again != text
    cases["changed"] = _changed(signature(key, again))
    for name, proof in cases.items():
        print(name)
        asked = {"public_key": pub(key), "proof": proof}
        with pytest.raises(GateFault, match="proof is no signature"):
            setting.own.ask("operator", "POST", "/v1/ssh/keys", asked)
    assert register(setting, key)["who"] == "local:operator"


def _changed(armored: str) -> str:
    """The same with one bit of the signature itself changed."""
    first, *lines, last = armored.splitlines()
    data = bytearray(base64.b64decode("".join(lines)))
    data[-1] ^= 1
    return "\n".join((first, base64.b64encode(data).decode(), last))


async def _raw(place: Place, public: bytes, algorithm: bytes, signature: bytes | None) -> bool:
    """Whether a request with this key and signature lets in (RFC 4252, section 7)."""
    done: dict[str, Any] = {}

    class Auth(asyncssh.auth.ClientAuth):
        async def _start(self) -> None:
            body = [Boolean(signature is not None), String(algorithm), String(public)]
            if signature is not None:
                body.append(String(signature))
            await self._conn.send_userauth_request(b"publickey", *body)

    class Client(asyncssh.SSHClient):
        def auth_completed(self) -> None:
            done["in"] = True

    before = asyncssh.auth._client_auth_handlers[b"publickey"]
    asyncssh.auth._client_auth_handlers[b"publickey"] = Auth
    try:
        connection, _ = await asyncssh.create_connection(
            Client, "localhost", place.setting.port, username="ops", config=None,
            known_hosts=str(place.setting.client / "known_hosts"), agent_path=None,
            client_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            preferred_auth="publickey",
        )  # fmt: skip
        connection.close()
        await connection.wait_closed()
    except (asyncssh.Error, OSError):
        pass
    finally:
        asyncssh.auth._client_auth_handlers[b"publickey"] = before
    return bool(done)


async def test_nobody_comes_in_by_a_key_without_its_signature(place: Place) -> None:
    kind, text, *_ = place.key.with_suffix(".pub").read_text().split()
    public = base64.b64decode(text)
    wrong = String(kind.encode()) + String(os.urandom(64))
    empty = String(kind.encode()) + String(b"")
    before = len(place.setting.own.ask("operator", "GET", "/v1/sessions?limit=100"))
    for shown in (None, wrong, empty, b"", struct.pack(">I", 2**31)):
        assert not await _raw(place, public, kind.encode(), shown)
    assert len(place.setting.own.ask("operator", "GET", "/v1/sessions?limit=100")) == before
    assert place.tried(place.key).returncode == 0


def test_somebody_elses_certificate_finds_no_grant_of_mine(place: Place) -> None:
    own = place.setting.own
    assert own.command("other", "ssh-config").returncode == 0
    folder = own.profiles / "other.ssh"
    done = place.tried(folder / "key")
    # The task may be taken up by whoever signs in: so it is, and is theirs.
    assert done.returncode == 0
    (session,) = own.ask("other", "GET", "/v1/sessions?limit=1")
    opened = dict(place.setting.events(session["id"]))[EventKind.SESSION_OPENED]
    assert opened["identity"] == "local:other"
    mine = [one["id"] for one in own.ask("operator", "GET", "/v1/grants")]
    assert opened["grant"] not in mine
