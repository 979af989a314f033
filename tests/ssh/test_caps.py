"""Over a cap of SSH's, nothing gets through; and the gate is well afterwards."""

import asyncio

import asyncssh
import pytest

from taskgate.model.limits import (
    MAX_CHANNEL_VARIABLES,
    MAX_CHANNELS,
    MAX_SIGN_IN_TRIES,
    MAX_VARIABLE_BYTES,
)
from tests.ssh_setting import SshSetting


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
