"""Who gets in, and what those hear who do not."""

import subprocess

from tests.hosts import Host, running_host
from tests.recorded import contents
from tests.ssh_setting import SshSetting, running_ssh_gate

TASK = """
kind: Task
name: look
resource: target
for: {groups: [testers]}
permit:
  - run: ["id"]
"""


def test_a_wrong_token_and_an_unknown_task_are_not_told_apart(setting: SshSetting) -> None:
    good = setting.grant("look")
    heard = set()
    for task, token in (("look", "tg_wrong"), ("nosuch", good), ("restart", good), ("look", "")):
        done = setting.ssh(task, "id", token=token or " ")
        assert done.returncode == 255
        assert "Permission denied" in done.stderr, done.stderr
        heard.add(done.stderr.replace(task, "TASK"))
    assert len(heard) == 1


def test_task_and_resource_in_the_user_name(setting: SshSetting) -> None:
    token = setting.grant("look")
    assert setting.ssh("look+target", "id", token=token).returncode == 0
    assert setting.ssh("look+other", "id", token=token).returncode == 255


def test_the_hosts_key_is_pinned(ssh_host: Host) -> None:
    with running_host() as other:
        resource = (
            "kind: Resource\nname: target\nprotocol: ssh\n"
            f"address: 127.0.0.1:{ssh_host.port}\nhost_keys: {other.host_key}\n"
            f"credential: {{username: {ssh_host.account.name},"
            f" private_key: {{file: {ssh_host.key}}}}}\n"
        )
        mark = ssh_host.mark()
        with running_ssh_gate(ssh_host, TASK, document=resource) as setting:
            done = setting.ssh("look", "id")
    assert done.returncode == 125
    assert "showed a host key that is not the one the gate knows" in done.stderr
    assert ssh_host.commands_since(mark) == []


def test_a_host_that_is_away_or_lets_nobody_in(ssh_host: Host) -> None:
    with running_host() as other:
        resource = (
            "kind: Resource\nname: target\nprotocol: ssh\n"
            f"address: 127.0.0.1:{other.port}\nhost_keys: {other.host_key}\n"
            f"credential: {{username: {other.account.name},"
            f" private_key: {{file: {ssh_host.key}}}}}\n"
        )
        with running_ssh_gate(ssh_host, TASK, document=resource) as setting:
            done = setting.ssh("look", "id")
            assert done.returncode == 125
            assert "does not let the gate in as" in done.stderr
            other.stop()
            done = setting.ssh("look", "id")
            assert done.returncode == 125
            assert "it refuses connections" in done.stderr


def test_weak_algorithms_are_off_and_key_exchange_is_strict(setting: SshSetting) -> None:
    weak = (
        ("KexAlgorithms", "diffie-hellman-group14-sha1"),
        ("KexAlgorithms", "diffie-hellman-group1-sha1"),
        ("Ciphers", "aes256-cbc"),
        ("Ciphers", "3des-cbc"),
        ("Ciphers", "chacha20-poly1305@openssh.com"),
        ("MACs", "hmac-sha1"),
        ("MACs", "hmac-sha2-256-etm@openssh.com"),
        ("HostKeyAlgorithms", "ssh-rsa"),
    )
    for name, value in weak:
        options = ["-o", f"{name}={value}"]
        if name == "MACs":
            options += ["-o", "Ciphers=aes128-ctr"]
        done = setting.ssh("look", "id", *options)
        assert done.returncode == 255, name
        assert "no matching" in done.stderr or "Unable to negotiate" in done.stderr, done.stderr
    shown = setting.ssh("look", "id", "-vv")
    assert "kex-strict-s-v00@openssh.com" in shown.stderr
    # Debian 12's client logs no more of it than what was proposed.


def test_the_same_host_key_after_a_restart(ssh_host: Host) -> None:
    with running_ssh_gate(ssh_host, TASK) as setting:
        before = setting.own.command("operator", "known-hosts").stdout
        setting.own.stop()
        setting.own.start()
        assert setting.own.command("operator", "known-hosts").stdout == before
        assert setting.ssh("look", "id").returncode == 0
        text = b"".join(contents(setting.own.state).values())
        key = ssh_host.key.read_bytes()
    assert b"OPENSSH PRIVATE KEY" not in text
    assert key.splitlines()[2] not in text


def test_what_the_gate_offers_to_sign_in_with(setting: SshSetting) -> None:
    done = subprocess.run(
        [*setting.arguments("look", "-o", "PreferredAuthentications=none"), "id"],
        capture_output=True, text=True, check=False, timeout=60,
        stdin=subprocess.DEVNULL, env=setting.environment("none"),
    )  # fmt: skip
    assert "Permission denied (publickey,keyboard-interactive,password)" in done.stderr
