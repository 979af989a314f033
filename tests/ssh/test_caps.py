"""Over a cap of SSH's, nothing gets through; and the gate is well afterwards."""

import asyncio
import subprocess
from pathlib import Path

import asyncssh
import pytest

from taskgate.demo.gate import GateFault
from taskgate.gateway.config import ConfigErrors, parse_config
from taskgate.model.limits import (
    MAX_CERTIFICATES_PER_LOGIN,
    MAX_CHANNEL_VARIABLES,
    MAX_CHANNELS,
    MAX_KEYS_SHOWN,
    MAX_SIGN_IN_TRIES,
    MAX_SSH_KEYS_PER_PERSON,
    MAX_USER_CERTIFICATE_S,
    MAX_VARIABLE_BYTES,
)
from tests.ssh_keys import register
from tests.ssh_setting import LEAD, SshSetting


async def _connect(setting: SshSetting, task: str) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "localhost", setting.port, username=task, password=setting.grant(task), config=None,
        known_hosts=str(setting.client / "known_hosts"), client_keys=None, agent_path=None,
    )  # fmt: skip


@pytest.mark.cap("MAX_CHANNELS")
async def test_channels_of_one_connection(setting: SshSetting) -> None:
    async with await _connect(setting, "look") as connection:
        asked = [connection.create_process("sleep 60") for _ in range(MAX_CHANNELS + 5)]
        opened = await asyncio.gather(*asked, return_exceptions=True)
        refused = [one for one in opened if isinstance(one, asyncssh.ChannelOpenError)]
        assert len(refused) == 5
        for one in opened:
            if isinstance(one, asyncssh.SSHClientProcess):
                one.close()
                await one.wait_closed()
        done = await connection.run("echo well", timeout=60)
        assert done.stdout == "well\n"


@pytest.mark.cap("MAX_CHANNEL_VARIABLES", "MAX_VARIABLE_BYTES")
async def test_variables_of_one_channel(setting: SshSetting) -> None:
    async with await _connect(setting, "look") as connection:
        many = {f"TG_{number}": "x" for number in range(MAX_CHANNEL_VARIABLES + 5)}
        last = MAX_CHANNEL_VARIABLES - 1
        done = await connection.run(f"printenv TG_{last}; printenv TG_{last + 1}", env=many)
        assert done.stdout == "x\n"
        long = {"TG_LONG": "x" * MAX_VARIABLE_BYTES}
        assert (await connection.run("printenv TG_LONG", env=long)).stdout == ""


@pytest.mark.cap("MAX_SIGN_IN_TRIES")
def test_secrets_of_one_connection(setting: SshSetting) -> None:
    options = ("-o", f"NumberOfPasswordPrompts={MAX_SIGN_IN_TRIES + 3}")
    done = setting.ssh("look", "id", *options, token="wrong")
    assert "too many attempts to sign in" in done.stderr
    assert setting.ssh("look", "id").returncode == 0


@pytest.mark.cap("MAX_KEYS_SHOWN")
def test_keys_that_one_connection_shows(setting: SshSetting, tmp_path: Path) -> None:
    # Each is asked about and then signed with.
    names = [_key(tmp_path, number)[1] for number in range(MAX_KEYS_SHOWN // 2 + 2)]
    token = setting.grant("look")
    for count, shut_out in ((MAX_KEYS_SHOWN // 2, False), (len(names), True)):
        options = [f for name in names[:count] for f in ("-i", str(name))]
        done = subprocess.run(
            [
                "ssh", *options, "-o", "PubkeyAuthentication=yes", "-o", "IdentitiesOnly=yes",
                "-o", "PreferredAuthentications=publickey,password",
                *setting.arguments("look")[1:], "id",
            ],
            capture_output=True, text=True, check=False, timeout=90, stdin=subprocess.DEVNULL,
            env=setting.environment(token),
        )  # fmt: skip
        assert (done.returncode == 255) is shut_out, done.stderr
        assert ("too many attempts to sign in" in done.stderr) is shut_out


@pytest.mark.cap("MAX_SSH_KEYS_PER_PERSON")
def test_keys_of_one_person(setting: SshSetting, tmp_path: Path) -> None:
    keys = [_key(tmp_path, n)[1] for n in range(MAX_SSH_KEYS_PER_PERSON + 1)]
    made = [register(setting, key)["id"] for key in keys[1:]]
    with pytest.raises(GateFault, match=f"{MAX_SSH_KEYS_PER_PERSON} is the most"):
        register(setting, keys[0])
    for one in made:
        setting.own.ask("operator", "DELETE", f"/v1/ssh/keys/{one}")


@pytest.mark.cap("MAX_CERTIFICATES_PER_LOGIN")
def test_certificates_of_one_sign_in(setting: SshSetting, tmp_path: Path) -> None:
    asked = {"public_key": _key(tmp_path, 0)[0]}
    setting.own.sign_in(LEAD)
    for _ in range(MAX_CERTIFICATES_PER_LOGIN):
        setting.own.ask("lead", "POST", "/v1/ssh/certificates", asked)
    with pytest.raises(GateFault, match=f"{MAX_CERTIFICATES_PER_LOGIN} is the most"):
        setting.own.ask("lead", "POST", "/v1/ssh/certificates", asked)
    setting.own.sign_in(LEAD)
    setting.own.ask("lead", "POST", "/v1/ssh/certificates", asked)


@pytest.mark.cap("MAX_USER_CERTIFICATE_S")
def test_how_long_certificates_may_last_by_the_configuration() -> None:
    text = "state_dir: state\nssh: {{certificate_s: {}}}\n"
    found = parse_config(text.format(int(MAX_USER_CERTIFICATE_S)), Path("gate.yaml"))
    assert found.ssh is not None
    assert found.ssh.certificate_s == MAX_USER_CERTIFICATE_S
    with pytest.raises(ConfigErrors):
        parse_config(text.format(int(MAX_USER_CERTIFICATE_S) + 1), Path("gate.yaml"))


def _key(folder: Path, number: int) -> tuple[str, Path]:
    """A fresh key: the text of its public half, and the file of its private one."""
    path = folder / f"key-{number}"
    if not path.exists():
        made = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a test", "-f", str(path))
        subprocess.run(made, check=True)
    return path.with_suffix(".pub").read_text(), path
