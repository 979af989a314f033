"""How the gate knows a host: by its first key, by a certificate, by a file of known hosts."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_KNOWN_HOSTS_BYTES
from tests.hosts import Host, running_host
from tests.ssh_setting import LEAD, SshSetting, running_ssh_gate

_RESOURCE = """
kind: Resource
name: {name}
protocol: ssh
address: {address}:{port}
{trust}
credential: {{username: {user}, private_key: {{file: {key}}}}}
---
kind: Task
name: on-{name}
resource: {name}
for: {{groups: [testers]}}
permit:
  - run: ["echo **", "sleep *"]
"""
ROLES = """
kind: Role
name: keepers
for: {groups: [testers]}
may: [administer]
---
kind: Role
name: auditors
for: {groups: [leads]}
may: [audit]
"""


@dataclass(slots=True)
class Keys:
    setting: SshSetting
    host: Host
    ca: Path
    known_hosts: Path

    def certify(self, *options: str) -> None:
        """Gives the host a certificate, and starts it with that."""
        subprocess.run(
            ["ssh-keygen", "-q", "-s", self.ca, "-h", "-I", "host", *options,
             self.host.root / "host_key.pub"],
            check=True,
        )  # fmt: skip
        self.host.restart("HostCertificate {root}/host_key-cert.pub\n")

    def said(self, name: str) -> str:
        """What a client is told that tries a host; empty where it got in."""
        done = self.setting.ssh(f"on-{name}", "echo in")
        assert (done.returncode, done.stdout) in ((0, "in\n"), (125, "")), done.stderr
        return "" if done.returncode == 0 else done.stderr

    def noted(self, name: str, kind: EventKind) -> list[dict[str, object]]:
        return [facts for one, facts in self.setting.recorded(f"on-{name}") if one == kind]


@pytest.fixture(scope="module")
def keys(ssh_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    folder = tmp_path_factory.mktemp("known")
    known, ca = folder / "known_hosts", folder / "ca"
    known.write_text("")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ca], check=True)
    authority = " ".join((folder / "ca.pub").read_text().split()[:2])
    with running_host() as host:
        trusts = {
            "first": ("127.0.0.1", "host_keys: first-use"),
            "moved": ("localhost", "host_keys: first-use"),
            "cert": ("127.0.0.1", f"host_ca: {authority}"),
            "filed": ("127.0.0.1", f"known_hosts_file: {known}"),
            "pinned": ("127.0.0.1", f"host_keys: {host.host_key}"),
        }
        documents = "---\n".join(
            _RESOURCE.format(
                name=name, address=address, port=host.port, trust=trust,
                user=host.account.name, key=host.key,
            )
            for name, (address, trust) in trusts.items()
        )  # fmt: skip
        with running_ssh_gate(host, ROLES, people=(LEAD,), document=documents) as found:
            yield Keys(found, host, ca, known)


def test_the_first_key_is_kept_and_no_other_taken(keys: Keys) -> None:
    own = keys.setting.own
    assert keys.said("first") == ""
    (trusted,) = keys.noted("first", EventKind.HOST_KEY_TRUSTED)
    listed = own.command("operator", "host-keys", "list").stdout
    assert str(trusted["host_key"]) in listed
    assert "first" in listed
    assert "local:operator" in listed
    assert keys.said("first") == ""
    assert keys.noted("first", EventKind.HOST_KEY_TRUSTED) == []
    keys.host.restart(new_key=True)
    told = keys.said("first")
    assert "showed a host key that is not the one the gate knows: SHA256:" in told
    assert "taskgate host-keys forget" in told
    (refused,) = keys.noted("first", EventKind.HOST_KEY_REFUSED)
    assert refused["host_key"] != trusted["host_key"]
    assert keys.noted("first", EventKind.UPSTREAM_REACHED) == []
    own.command("operator", "host-keys", "forget", "first")
    assert keys.said("first") == ""
    (again,) = keys.noted("first", EventKind.HOST_KEY_TRUSTED)
    assert again["host_key"] == refused["host_key"]
    # All of it is found by the keys' fingerprints.
    search = ("audit", "search", "--json", "--text")
    old = own.command("lead", *search, str(trusted["host_key"])).stdout
    new = own.command("lead", *search, str(again["host_key"])).stdout
    assert "host_key.trusted" in old
    assert "host_key.forgotten" in old
    assert "host_key.refused" in new
    assert "host_key.trusted" in new


def test_another_address_is_another_host(keys: Keys) -> None:
    assert keys.said("moved") == ""
    assert len(keys.noted("moved", EventKind.HOST_KEY_TRUSTED)) == 1


def test_a_pinned_key_is_no_other(keys: Keys) -> None:
    keys.host.restart(new_key=True)
    assert "is not the one the gate knows" in keys.said("pinned")
    assert len(keys.noted("pinned", EventKind.HOST_KEY_REFUSED)) == 1


def test_a_certificate_of_the_hosts_authority(keys: Keys) -> None:
    keys.certify("-n", "127.0.0.1,web")
    assert keys.said("cert") == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-n", "db"), "Certificate principal mismatch"),
        (("-n", "127.0.0.1", "-V", "20200101:20200102"), "Certificate expired"),
        (("-n", "127.0.0.1", "-V", "20990101:20990102"), "Certificate not yet valid"),
    ],
    ids=["another host", "expired", "not yet"],
)
def test_a_certificate_that_does_not_count(
    keys: Keys, options: tuple[str, ...], words: str
) -> None:
    keys.certify(*options)
    told = keys.said("cert")
    assert f"showed a host key that does not count: {words}" in told
    assert len(keys.noted("cert", EventKind.HOST_KEY_REFUSED)) == 1


def test_a_host_without_a_certificate_where_one_is_wanted(keys: Keys) -> None:
    keys.host.restart()
    told = keys.said("cert")
    assert "closed the connection before the gate was signed in" in told
    assert "ssh-ed25519-cert-v01@openssh.com" in told
    keys.certify("-n", "127.0.0.1")
    assert keys.said("cert") == ""


def test_a_file_of_known_hosts(keys: Keys) -> None:
    keys.certify("-n", "127.0.0.1")
    host, file = keys.host, keys.known_hosts
    place = f"[127.0.0.1]:{host.port}"
    authority = " ".join(keys.ca.with_suffix(".pub").read_text().split()[:2])
    file.write_text("other " + host.host_key + "\n")
    assert "has no line for 127.0.0.1" in keys.said("filed")
    file.write_text(f"# a comment\n{place} {host.host_key} root@web\n")
    assert keys.said("filed") == ""
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
    assert file.read_text().startswith(("|1|", "# a comment\n|1|"))
    assert keys.said("filed") == ""
    file.write_text(f"@cert-authority * {authority}\n")
    assert keys.said("filed") == ""
    for revoked in (authority, host.host_key):
        file.write_text(f"@cert-authority {place} {authority}\n@revoked * {revoked}\n")
        assert "is revoked" in keys.said("filed")
        assert len(keys.noted("filed", EventKind.HOST_KEY_REFUSED)) == 1
    file.write_text(f"{place} {host.host_key}\n@revoked 127.0.0.1 {host.host_key}\n")
    assert "is revoked" in keys.said("filed")
    file.write_text(f"@nonsense {place} {host.host_key}\n")
    assert "cannot be read" in keys.said("filed")


def test_a_file_of_known_hosts_that_others_may_write(keys: Keys) -> None:
    file = keys.known_hosts
    file.write_text(f"[127.0.0.1]:{keys.host.port} {keys.host.host_key}\n")
    assert keys.said("filed") == ""
    file.chmod(0o666)
    assert "is open to others" in keys.said("filed")
    file.chmod(0o644)


@pytest.mark.cap("MAX_KNOWN_HOSTS_BYTES")
def test_a_file_of_known_hosts_without_end(keys: Keys) -> None:
    good = f"[127.0.0.1]:{keys.host.port} {keys.host.host_key}\n"
    keys.known_hosts.write_text(good + "#" * MAX_KNOWN_HOSTS_BYTES)
    assert "is larger than" in keys.said("filed")
    keys.known_hosts.write_text(good)
    assert keys.said("filed") == ""
