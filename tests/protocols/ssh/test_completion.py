"""Completion and help say what the task's own rules say."""

import pytest

from taskgate.policy.load import load_files
from taskgate.policy.rules import Task
from taskgate.protocols.ssh.completion import complete, help_lines

POLICY = """
kind: Resource
name: web-1
protocol: ssh
address: web-1.internal
host_keys: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl
credential: {username: tg, private_key: {store: key}}
---
kind: Task
name: ops
description: Look after it
resource: web-1
for: {groups: [ops]}
permit:
  - run: ["systemctl status web-*", "systemctl cat nginx", "df **", "echo 'a b' c", "cat *.log"]
hold:
  - run: ["systemctl restart nginx"]
    for: {groups: [leads], people: 1, within: 5m}
deny:
  - {run: ["df -x **"], reason: not that}
"""


@pytest.fixture(scope="module")
def task() -> Task:
    return load_files({"all.yaml": POLICY}).tasks["ops"]


@pytest.mark.parametrize(
    ("before", "text", "listed"),
    [
        ("sy", "systemctl ", 1),
        ("systemctl ", "", 3),
        ("systemctl s", "status ", 1),
        ("systemctl status ", "web-", 1),
        ("systemctl status web-1 ", None, 0),
        ("echo ", "'a b' ", 1),
        ("d", "df ", 1),
        ("df ", None, 0),
        ("cat ", None, 0),
        ("ex", "ex", 2),
        ("exp", "export ", 1),
        ("df | sy", "systemctl ", 1),
        ("nothing", None, 0),
        ("'sy", None, 0),
    ],
)
def test_what_could_follow(task: Task, before: str, text: str | None, listed: int) -> None:
    found = complete(task, before)
    assert (found and found.text) == text
    assert len(found.listed if found else ()) == listed
    assert found is None or before[found.start :] == text[: len(before) - found.start]  # type: ignore[index]


def test_a_task_that_is_gone(task: Task) -> None:
    assert complete(None, "sy") is None
    assert help_lines(None) == ["the task is not in the policy any more"]


def test_help_says_what_the_rules_say(task: Task) -> None:
    said = "\n".join(help_lines(task))
    assert "ops: Look after it" in said
    assert "runs at once:\n  run: systemctl status web-*" in said
    assert "waits for somebody's approval:\n  run: systemctl restart nginx" in said
    assert "is refused:\n  run: df -x ** (not that)" in said
