"""Keyboard-interactive: a token typed at a question, and a sign-in by a browser elsewhere while the
connection waits. The provider is a real one."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from taskgate.model.limits import MAX_DEVICE_SIGN_INS_PER_SOURCE
from tests.hosts import Host
from tests.oidc_provider.running import CLIENT_SECRET, RealProvider, real_provider
from tests.patience import eventually
from tests.recorded import recorded_text
from tests.ssh_setting import SshSetting, running_ssh_gate

TASKS = """
kind: Task
name: look
resource: target
for: {groups: [testers, corp/analysts]}
permit:
  - run: ["id", "echo **"]
---
kind: Task
name: direct
resource: target
for: {groups: [corp/analysts]}
direct: true
permit:
  - run: ["id", "echo **"]
---
kind: Task
name: strong
resource: target
for: {groups: [corp/analysts]}
direct: true
sign_in: {mfa: true, within: 15m}
permit:
  - run: ["id"]
"""


@dataclass(frozen=True, slots=True)
class Place:
    setting: SshSetting
    provider: RealProvider

    def arguments(self, task: str, command: str, *options: str) -> list[str]:
        return [
            "ssh", "-o", "PreferredAuthentications=keyboard-interactive", *options,
            *self.setting.arguments(task)[1:], command,
        ]  # fmt: skip

    def started(self, task: str, command: str, answer: str = "") -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.arguments(task, command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=self.setting.environment(answer),
        )  # fmt: skip

    def by_browser(self, task: str, command: str, who: str) -> tuple[int, str, str]:
        """Whoever reads the code types it: the status, and what was said and told."""
        with self.started(task, command) as client:
            told, page = self.code(client)
            self.provider.confirm(page, who)
            out, err = client.communicate(timeout=60)
            return client.returncode, out, told + err

    def code(self, client: "subprocess.Popen[str]") -> tuple[str, str]:
        """What a waiting client was told, and the page where its code is typed in."""
        assert client.stderr is not None
        told = ""
        for line in client.stderr:
            told += line
            if "Waiting" in line:
                break
        lines = told.splitlines()
        at = next(n for n, line in enumerate(lines) if line.startswith("and type the code"))
        return told, f"{lines[at - 1].strip()}?user_code={lines[at + 1].strip()}"

    def events(self) -> str:
        return recorded_text(self.setting.own.recordings)


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[Place]:
    with real_provider() as provider:
        corp = {
            "name": "corp", "issuer": provider.issuer, "client_id": "taskgate",
            "client_secret": {"env": "CORP_SECRET"}, "mfa_acr": ["urn:mfa"],
        }  # fmt: skip
        with running_ssh_gate(
            ssh_host, TASKS, more={"oidc": [corp]}, secrets={"CORP_SECRET": CLIENT_SECRET}
        ) as setting:
            yield Place(setting, provider)


def test_a_token_typed_at_the_question(place: Place) -> None:
    token = place.setting.grant("look")
    done = subprocess.run(
        place.arguments("look", "echo typed"), capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=60, env=place.setting.environment(token),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "typed\n"), done.stderr
    assert "signing in for look, from 127.0.0.1" in done.stderr
    wrong = subprocess.run(
        place.arguments("look", "id"), capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=60, env=place.setting.environment("tg_wrong"),
    )  # fmt: skip
    assert wrong.returncode == 255


def test_somebody_without_a_token_signs_in_by_a_browser_and_goes_on(place: Place) -> None:
    status, out, told = place.by_browser("direct", "echo by browser", "ann")
    assert (status, out) == (0, "by browser\n"), told
    assert "to go on with direct, from 127.0.0.1" in told
    # The page with the code filled in would be all that a thief has to send.
    assert "user_code=" not in told
    for event in ('"flow":"device"', '"signed_in_with":{"provider":"corp"}'):
        eventually(lambda event=event: event in place.events(), f"no {event}")  # type: ignore[misc]


def test_a_task_that_wants_a_request_says_so_after_the_sign_in(place: Place) -> None:
    status, _, told = place.by_browser("look", "id", "ann")
    assert status == 255
    assert 'taskgate request look --reason "..."' in told
    # Neither a stranger to the task nor a task that is not there is told apart from it.
    for task, who in (("direct", "eve"), ("nosuch", "ann")):
        status, _, told = place.by_browser(task, "id", who)
        assert status == 255
        assert f"you hold no live grant of {task}" in told


def test_a_task_that_wants_a_second_factor_gets_one(place: Place) -> None:
    status, _, told = place.by_browser("strong", "id", "ann")
    assert status == 0, told


def test_a_client_that_leaves_gives_its_place_back(place: Place) -> None:
    for _ in range(MAX_DEVICE_SIGN_INS_PER_SOURCE + 1):
        with place.started("direct", "id") as client:
            told, _ = place.code(client)
            assert "and type the code" in told
            client.terminate()
            client.wait(60)
    status, _, told = place.by_browser("direct", "id", "ann")
    assert status == 0, told
