"""People sign in by a certificate that the gate has signed, and by plain `ssh NAME.gate`."""

import itertools
import random
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.demo.gate import Person
from taskgate.model.event import EventKind
from tests.gates import OPERATOR
from tests.hosts import Host
from tests.patience import eventually, within
from tests.ssh_setting import SshSetting, running_ssh_gate

TASKS = """
kind: Task
name: look
resource: target
for: {groups: [testers]}
permit:
  - run: ["id", "echo **", "sleep *"]
---
kind: Task
name: touch
resource: target
for: {groups: [testers]}
permit:
  - run: ["id"]
---
kind: Task
name: open-door
resource: target
for: {groups: [guests]}
direct: true
permit:
  - run: ["id", "sleep *"]
"""
GUEST = Person("guest", "comes in without asking", ("guests",))
OFFICER = Person("officer", "lets people go", ("officers",))
ROLE = """
kind: Role
name: officers
for: {groups: [officers]}
may: [offboard, administer]
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS, ROLE, people=(GUEST, OFFICER)) as found:
        yield found


@pytest.fixture
def operator(place: SshSetting) -> Path:
    """The folder of the operator's SSH files, freshly signed in and without grants."""
    return ready(place, OPERATOR)


def a_while() -> str:
    """A command of this test alone."""
    return f"sleep {random.randrange(10_000, 10_000_000)}"


def ready(place: SshSetting, person: Person, keeping: str = "") -> Path:
    place.own.sign_in(person)
    for grant in place.own.ask(person.name, "GET", "/v1/grants"):
        if grant["id"] != keeping:
            place.own.ask(person.name, "DELETE", f"/v1/grants/{grant['id']}")
    done = place.own.command(person.name, "ssh-config")
    assert done.returncode == 0, done.stderr
    return place.own.profiles / f"{person.name}.ssh"


def ssh(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["ssh", "-o", "BatchMode=yes", "-F", str(folder / "config"), *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip


def started(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["ssh", "-o", "BatchMode=yes", "-F", str(folder / "config"), *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def running(place: SshSetting, command: str) -> bool:
    return eventually(lambda: place.host.runs(command), f"{command} does not run")


def cut(process: "subprocess.Popen[str]", words: str) -> float:
    """How long it takes from now until a session has ended, which is told why in such words."""
    since = time.monotonic()
    _, said = process.communicate(timeout=60)
    took = time.monotonic() - since
    assert process.returncode != 0
    assert words in said, said
    return took


def test_plain_ssh_works_under_the_grant_that_there_is(place: SshSetting, operator: Path) -> None:
    token, grant = place.grant_of("look")
    done = ssh(operator, "target.gate", "echo by name")
    assert (done.returncode, done.stdout) == (0, "by name\n"), done.stderr
    assert done.stderr == ""
    opened = dict(place.recorded("look"))[EventKind.SESSION_OPENED]
    shown = opened["signed_in_with"]
    assert (opened["grant"], opened["identity"]) == (grant, "local:operator")
    listed = subprocess.run(
        ["ssh-keygen", "-L", "-f", str(operator / "key-cert.pub")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert f"Serial: {shown['certificate']}" in listed
    assert shown["key"] in listed
    assert re.search(r'Key ID: "local:operator sign-in [0-9a-f]{16}"', listed)
    assert re.search(r"Principals:\s+local:operator\n", listed)
    assert re.search(r"Critical Options: \(none\)\s+Extensions: \(none\)", listed)
    assert token not in (operator / "config").read_text()


def test_without_a_grant_the_refusal_says_how_to_get_one(place: SshSetting, operator: Path) -> None:
    done = ssh(operator, "target.gate", "id")
    assert done.returncode == 255
    assert "you hold no live grant that reaches target" in done.stderr
    assert 'taskgate request look --reason "..." (or touch)' in done.stderr
    # They are known, so nobody asks them for a password as well.
    assert "Permission denied (publickey)" in done.stderr
    named = ssh(operator, "target.touch.gate", "id")
    assert 'taskgate request touch --reason "..."' in named.stderr
    # A task that is not there, and one that is not theirs, sound alike.
    for task in ("nosuch", "open-door"):
        done = ssh(operator, "-l", task, "target.gate", "id")
        assert f"you hold no live grant of {task}" in done.stderr


def test_the_plain_name_goes_by_the_newest_grant(place: SshSetting, operator: Path) -> None:
    place.grant_of("look")
    place.grant_of("touch")
    assert ssh(operator, "target.gate", "echo x").returncode == 126
    assert ssh(operator, "target.look.gate", "echo x").stdout == "x\n"


def test_a_task_that_is_direct_is_taken_up_once_by_a_certificate(place: SshSetting) -> None:
    folder = ready(place, GUEST)
    for _ in range(2):
        assert ssh(folder, "target.gate", "id").returncode == 0
    grants = place.own.ask("guest", "GET", "/v1/grants")
    assert [one["reason"] for one in grants] == ["signed in directly: ssh"]
    place.own.ask("guest", "DELETE", f"/v1/grants/{grants[0]['id']}")
    done = ssh(folder, "target.gate", "id")
    assert done.returncode == 255
    assert ssh(ready(place, GUEST), "target.gate", "id").returncode == 0


def test_signing_out_ends_what_the_certificate_opened(place: SshSetting, operator: Path) -> None:
    _, grant = place.grant_of("look")
    kept: dict[str, bytes] = {}

    def signed_out() -> float:
        ready(place, OPERATOR, keeping=grant)
        long = a_while()
        with started(operator, "target.gate", long) as session:
            assert running(place, long)
            kept.update({name: (operator / name).read_bytes() for name in ("key", "key-cert.pub")})
            assert place.own.command("operator", "logout").returncode == 0
            return cut(session, "the sign-in behind this certificate has ended")

    within(2, signed_out)
    assert not (operator / "key").exists()
    for name, data in kept.items():
        (operator / name).write_bytes(data)
        (operator / name).chmod(0o600)
    done = ssh(operator, "target.gate", "id")
    assert done.returncode == 255
    assert "taskgate login --ssh" in done.stderr
    # The grant itself goes on.
    place.own.sign_in(OPERATOR)
    assert grant in [one["id"] for one in place.own.ask("operator", "GET", "/v1/grants")]


def test_revoking_the_grant_ends_it(place: SshSetting, operator: Path) -> None:
    def revoked() -> float:
        _, grant = place.grant_of("look")
        long = a_while()
        with started(operator, "target.gate", long) as session:
            assert running(place, long)
            place.own.ask("operator", "DELETE", f"/v1/grants/{grant}")
            return cut(session, "revoked")

    within(2, revoked)


def test_a_certificate_ends_and_its_session_with_it(place: SshSetting, operator: Path) -> None:
    place.grant_of("look")

    def expired() -> float:
        done = place.own.command("operator", "ssh-config", "--for", "10s")
        assert done.returncode == 0, done.stderr
        with started(operator, "target.gate", a_while()) as session:
            return cut(session, "the certificate has expired")

    within(12, expired)
    assert ssh(operator, "target.gate", "id").returncode == 255


def test_whoever_has_left_opens_nothing(place: SshSetting) -> None:
    numbers = itertools.count()

    def left() -> float:
        leaver = Person(f"leaver-{next(numbers)}", "goes", ("testers",))
        place.own.ask(
            "officer", "POST", "/v1/users",
            {"name": leaver.name, "password": leaver.password, "groups": ["testers"]},
        )  # fmt: skip
        folder = ready(place, leaver)
        place.own.grant(leaver.name, "look")
        long = a_while()
        with started(folder, "target.gate", long) as session:
            assert running(place, long)
            place.own.ask("officer", "POST", f"/v1/people/{leaver.name}/offboard", {"why": "x"})
            took = cut(session, "")
        assert ssh(folder, "target.gate", "id").returncode == 255
        return took

    within(2, left)


def test_only_from_where_the_certificate_says(place: SshSetting, operator: Path) -> None:
    place.grant_of("look")
    for source, status in (("127.0.0.0/8", 0), ("192.0.2.0/24", 255)):
        assert place.own.command("operator", "ssh-config", "--from", source).returncode == 0
        assert ssh(operator, "target.gate", "id").returncode == status, source
    assert place.own.command("operator", "ssh-config", "--from", "nowhere").returncode == 7


def test_login_gets_one_and_the_key_is_ones_own(place: SshSetting, operator: Path) -> None:
    before = (operator / "key").read_bytes()
    done = place.own.command(
        "operator", "login", "operator", "--ssh", "--password-stdin", "--server", place.own.url,
        "--ca", str(place.own.ca_file), text_in=OPERATOR.password + "\n",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the certificate for ssh lasts until" in done.stderr
    assert (operator / "key").read_bytes() != before
    assert all(p.stat().st_mode & 0o077 == 0 for p in operator.rglob("*") if p.is_file())
    place.grant_of("look")
    assert ssh(operator, "target.gate", "id").returncode == 0


def test_the_gates_own_key_is_certified(place: SshSetting, operator: Path) -> None:
    known = (operator / "known_hosts").read_text()
    assert known.startswith("@cert-authority [localhost]:")
    place.grant_of("look")
    shown = ssh(operator, "-v", "target.gate", "id").stderr
    assert "Server host certificate: ssh-ed25519-cert-v01@openssh.com" in shown
    # Another authority's word for it is not enough.
    marker, name = known.split()[:2]
    (operator / "known_hosts").write_text(f"{marker} {name} {place.host.host_key}\n")
    done = ssh(operator, "target.gate", "id")
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr or "No ED25519" in done.stderr
