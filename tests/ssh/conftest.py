"""One gateway and one sshd for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.hosts import Host
from tests.ssh_setting import LEAD, SshSetting, running_ssh_gate, ssh_host

__all__ = ["ssh_host"]

TASKS = """
kind: Task
name: look
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **", "cat **", "id", "sleep *", "head **", "wc **", "false", "printenv *", "seq *"]
  - run: ["sh -c 'kill -9 $$'", "tee **", "sort", "grep **", "yes", "tty", "stty size"]
  - env: [LANG, "TG_*"]
  - terminal: [tty, stty]
  - read: ["/etc/**"]
deny:
  - {run: ["cat /etc/shadow", "cat ** /etc/shadow **"], reason: nobody reads that}
---
kind: Task
name: restart
resource: target
for: {groups: [testers]}
permit:
  - run: ["id"]
hold:
  - run: ["echo restart web-*"]
    for: {groups: [leads], people: 1, within: 1m}
---
kind: Task
name: capped
resource: target
for: {groups: [testers]}
permit:
  - run: ["seq *"]
limits: {bytes: 100kB}
---
kind: Task
name: brief
resource: target
for: {groups: [testers]}
permit:
  - run: ["sleep *"]
limits: {statement: 2s}
---
kind: Task
name: silent
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **"]
limits: {idle: 3s}
"""


@pytest.fixture(scope="session")
def setting(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS, people=(LEAD,)) as found:
        yield found
