"""Programs that call `ssh`, run as their users do: rsync, git and others through the gate."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.hosts import Host
from tests.ssh_setting import SshSetting

_PAGE = Path(__file__).parents[1] / "docs" / "ssh-clients.md"


def documented_tasks(host: Host) -> str:
    """The tasks of docs/ssh-clients.md, their /srv being a folder of the host's account."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", _PAGE.read_text(), re.DOTALL | re.MULTILINE)
    text = "---\n".join(blocks).replace("/srv/", f"{host.home}/").replace("web-1", "target")
    return text.replace("developers", "testers")


def need(program: str, package: str) -> None:
    """Skips where it is not installed; fails where a run must have everything."""
    if shutil.which(program) is not None:
        return
    missing = f"{program} is not installed: apt-get install {package}"
    if os.environ.get("TASKGATE_TEST_ALL") and os.geteuid() == 0:
        pytest.fail(f"{missing}, and this run must test with it")
    pytest.skip(missing)


def run_through(
    place: SshSetting,
    task: str,
    *arguments: str | Path,
    more: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> "subprocess.CompletedProcess[str]":
    """A program that calls `ssh` by RSYNC_RSH or GIT_SSH_COMMAND, under a fresh grant; HOST in its
    arguments is the gate."""
    *shell, _ = place.arguments(task)
    calls = shlex.join(shell)
    environment = place.environment(place.grant(task))
    return subprocess.run(
        [str(one).replace("HOST", f"{task}@localhost") for one in arguments],
        input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=120,
        env={**environment, "RSYNC_RSH": calls, "GIT_SSH_COMMAND": calls, **(more or {})},
    )  # fmt: skip
