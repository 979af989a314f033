"""`taskgate connect` and `taskgate exec` set OpenSSH's programs up."""

from pathlib import Path

from tests.ssh_setting import SshSetting


def test_connect_runs_a_command_and_ends_the_grant(setting: SshSetting) -> None:
    done = setting.own.command("operator", "connect", "look", "--", "echo a  'b  c'")
    assert (done.returncode, done.stdout) == (0, "a b  c\n"), done.stderr
    live = setting.own.ask("operator", "GET", "/v1/grants")
    assert not [one for one in live if one["reason"] == "taskgate connect"]
    refused = setting.own.command("operator", "connect", "look", "--", "rm x")
    assert refused.returncode == 126


def test_exec_sets_up_whatever_calls_ssh(setting: SshSetting, tmp_path: Path) -> None:
    script = "ssh target echo one && ssh target.gate 'cat' < /etc/hostname && ssh -G other.host"
    done = setting.own.command("operator", "exec", "look", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("one\n" + Path("/etc/hostname").read_text())
    assert "hostname other.host" in done.stdout
    files = [path for path in setting.own.profiles.rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_exec_outdoes_what_a_program_asks_of_ssh(setting: SshSetting, tmp_path: Path) -> None:
    """Ansible forbids passwords on the command line, `sftp -b` every question; other hosts are
    called as they were."""
    against = "-o PasswordAuthentication=no -o PreferredAuthentications=publickey -o BatchMode=yes"
    script = (
        f"ssh {against} target echo one && ssh {against} someone@target.gate -G | grep -i ^batch"
        f" && ssh {against} -G other.host | grep -Ei '^(batch|preferred)'"
    )
    done = setting.own.command("operator", "exec", "look", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "one", "batchmode no", "batchmode yes", "preferredauthentications publickey",
    ]  # fmt: skip
