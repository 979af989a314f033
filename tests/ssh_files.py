"""A gateway whose tasks are about files, and a folder at the host with traps in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import Host
from tests.ssh_setting import LEAD, SshSetting, running_ssh_gate

TASKS = """
kind: Task
name: files
resource: target
for: {groups: [testers]}
permit:
  - {see: ["HOME/app/**"], change: ["HOME/app/**"], link: ["HOME/app/**"]}
deny:
  - {write: ["HOME/app/kept/**"], reason: kept as it is}
  - {read: ["HOME/app/secret"], reason: nobody reads it}
---
kind: Task
name: fetch
resource: target
for: {groups: [testers]}
permit:
  - {see: ["HOME/app/**"]}
limits: {bytes: 100kB}
---
kind: Task
name: drop
resource: target
for: {groups: [testers]}
permit:
  - write: ["HOME/app/in/*"]
---
kind: Task
name: held
resource: target
for: {groups: [testers]}
permit:
  - {see: ["HOME/app/**"]}
hold:
  - write: ["HOME/app/**"]
    for: {groups: [leads], people: 1, within: 1m}
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(
        ssh_host, TASKS.replace("HOME", str(ssh_host.home)), people=(LEAD,)
    ) as found:
        yield found


@pytest.fixture
def app(place: SshSetting) -> Path:
    """A folder at the host with a few things in it, made anew."""
    folder = place.home / "app"
    place.host.run(
        f"rm -rf {folder} && mkdir -p {folder}/kept {folder}/in {folder}/sub && cd {folder} &&"
        " echo one > one && echo two > sub/two && echo s > secret && echo k > kept/k &&"
        " ln -s /etc etc && ln -s /etc/passwd passwd && ln -s one alias && ln -s secret s2 &&"
        f" ln -s {folder}/kept k2"
    )
    return folder
