"""People sign in by a public key that they have registered, under the grants that they hold."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.demo.gate import GateFault, Person
from taskgate.model.event import EventKind
from tests.gates import OPERATOR
from tests.hosts import Host
from tests.patience import within
from tests.ssh.test_user_certificates import ROLE, a_while, cut, running
from tests.ssh_keys import register
from tests.ssh_setting import LEAD, SshSetting, running_ssh_gate

OFFICER = Person("officer", "lets people go", ("officers",))
TASKS = """
kind: Task
name: look
resource: target
for: {groups: [testers, leads]}
permit:
  - run: ["id", "echo **", "sleep *"]
---
kind: Task
name: strong
resource: target
for: {groups: [testers]}
sign_in: {mfa: true}
permit:
  - run: ["id"]
---
kind: Task
name: lately
resource: target
for: {groups: [testers]}
sign_in: {within: 5m}
permit:
  - run: ["id"]
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS, ROLE, people=(LEAD, OFFICER)) as found:
        yield found


def made(folder: Path, kind: str = "ed25519", *more: str) -> Path:
    path = folder / f"key-{kind}-{len(list(folder.iterdir()))}"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, *more, "-N", "", "-C", "laptop", "-f", str(path)],
        check=True,
    )
    return path


def add(place: SshSetting, key: Path, who: str = "operator") -> "subprocess.CompletedProcess[str]":
    return place.own.command(who, "keys", "add", str(key.with_suffix(".pub")))


def by_key(place: SshSetting, key: Path, task: str, *more: str) -> list[str]:
    return [
        "ssh", "-i", str(key), "-o", "PubkeyAuthentication=yes", "-o", "BatchMode=yes",
        "-o", "PreferredAuthentications=publickey", "-o", "IdentitiesOnly=yes",
        *more, *place.arguments(task)[1:],
    ]  # fmt: skip


def ssh(
    place: SshSetting, key: Path, task: str, command: str = "id", *more: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*by_key(place, key, task, *more), command], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "more"), [("ed25519", ()), ("ecdsa", ()), ("rsa", ("-b", "3072"))]
)
def test_a_registered_key_comes_in_under_the_grant_that_there_is(
    place: SshSetting, tmp_path: Path, kind: str, more: tuple[str, ...]
) -> None:
    key = made(tmp_path, kind, *more)
    assert ssh(place, key, "look").returncode == 255
    done = add(place, key)
    assert done.returncode == 0, done.stderr
    _, grant = place.grant_of("look")
    done = ssh(place, key, "look", "echo a key")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a key\n", "")
    opened = dict(place.recorded("look"))[EventKind.SESSION_OPENED]
    assert opened["grant"] == grant
    (listed,) = [
        one
        for one in place.own.ask("operator", "GET", "/v1/ssh/keys")
        if one["fingerprint"] == opened["signed_in_with"]["key"]
    ]
    assert (listed["label"], listed["who"]) == ("laptop", "local:operator")
    assert listed["last_used_at"] is not None
    assert listed["id"] in place.own.command("operator", "keys", "list").stdout


def test_a_key_alone_holds_no_right(place: SshSetting, tmp_path: Path) -> None:
    key = made(tmp_path)
    add(place, key, "lead")
    done = ssh(place, key, "look")
    assert done.returncode == 255
    assert 'taskgate request look --reason "..."' in done.stderr
    # Neither does somebody else's grant.
    place.grant_of("look")
    assert ssh(place, key, "look").returncode == 255


def test_removing_a_key_ends_its_sessions(place: SshSetting, tmp_path: Path) -> None:
    other = made(tmp_path)
    add(place, other)
    place.grant_of("look")

    def removed() -> float:
        key, long = made(tmp_path), a_while()
        id_ = register(place, key)["id"]
        with subprocess.Popen(
            [*by_key(place, key, "look"), long], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        ) as session:  # fmt: skip
            assert running(place, long)
            # Somebody else's is not theirs to remove, except for an administrator.
            assert place.own.command("lead", "keys", "remove", id_).returncode == 5
            assert place.own.command("officer", "keys", "remove", id_).returncode == 0
            took = cut(session, "registered no longer")
        assert ssh(place, key, "look").returncode == 255
        return took

    within(2, removed)
    assert ssh(place, other, "look").returncode == 0


def test_a_key_dies_with_its_person(place: SshSetting, tmp_path: Path) -> None:
    leaver = Person("leaver", "goes", ("testers",))
    place.own.ask(
        "officer", "POST", "/v1/users",
        {"name": "leaver", "password": leaver.password, "groups": ["testers"]},
    )  # fmt: skip
    place.own.sign_in(leaver)
    key = made(tmp_path)
    assert add(place, key, "leaver").returncode == 0
    place.own.grant("leaver", "look")
    assert ssh(place, key, "look").returncode == 0
    place.own.ask("officer", "POST", "/v1/people/leaver/offboard", {"why": "a test"})
    assert ssh(place, key, "look").returncode == 255
    everybodys = place.own.ask("officer", "GET", "/v1/ssh/keys?all=true")
    assert not [one for one in everybodys if one["who"] == "local:leaver"]


def test_what_is_not_registered(place: SshSetting, tmp_path: Path) -> None:
    for kind, more in (("rsa", ("-b", "2048")), ("dsa", ())):
        done = add(place, made(tmp_path, kind, *more))
        assert done.returncode == 7, (kind, done.stderr)
        assert (
            "too short" in done.stderr
            or "are not taken" in done.stderr
            or "no public key" in (done.stderr)
        )
    key = made(tmp_path)
    assert add(place, key).returncode == 0
    # One key, one person.
    assert "registered already" in add(place, key, "lead").stderr
    private = place.own.command("operator", "keys", "add", str(key))
    assert "is a private key" in private.stderr
    asked = {"public_key": "ssh-ed25519 AAAA", "proof": "none"}
    with pytest.raises(GateFault, match="no public key"):
        place.own.ask("operator", "POST", "/v1/ssh/keys", asked)


def test_a_key_in_an_agent_alone_is_registered(place: SshSetting, tmp_path: Path) -> None:
    key = made(tmp_path)
    with place.agent() as variables:
        environment = {**place.own.surroundings("operator"), **variables}
        subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True)
        key.unlink()
        without = add(place, key)
        assert without.returncode == 2
        assert "have the private key beside it, or in ssh-agent" in without.stderr
        command = [*place.own.program, "keys", "add", f"{key}.pub"]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
        place.grant_of("look")
        of_agent = ("-o", f"IdentityAgent={variables['SSH_AUTH_SOCK']}")
        assert ssh(place, key.with_suffix(".pub"), "look", "id", *of_agent).returncode == 0


def test_rsa_with_sha1_opens_nothing(place: SshSetting, tmp_path: Path) -> None:
    key = made(tmp_path, "rsa", "-b", "3072")
    assert add(place, key).returncode == 0
    place.grant_of("look")
    old = ("-o", "PubkeyAcceptedAlgorithms=ssh-rsa")
    assert ssh(place, key, "look", "id", *old).returncode == 255
    assert ssh(place, key, "look").returncode == 0


def test_a_key_of_a_weak_sign_in_opens_nothing_that_wants_a_strong_one(
    place: SshSetting, tmp_path: Path
) -> None:
    key = made(tmp_path)
    assert add(place, key).returncode == 0
    # Whoever has no second factor cannot take it up either.
    with pytest.raises(GateFault, match="second factor"):
        place.grant_of("strong")
    assert ssh(place, key, "strong").returncode == 255


def test_how_lately_somebody_signed_in_is_the_grants_to_tell(
    place: SshSetting, tmp_path: Path
) -> None:
    key = made(tmp_path)
    assert add(place, key).returncode == 0
    place.own.sign_in(OPERATOR)
    place.grant_of("lately")
    assert ssh(place, key, "lately").returncode == 0
