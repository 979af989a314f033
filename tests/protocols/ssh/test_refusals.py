"""What a person reads behind ssh."""

import pytest

from taskgate.model.errors import Denied, NotRecorded, TaskgateError, Unreadable, UpstreamFault
from taskgate.protocols.ssh.refusals import notice, refusal, status_of


@pytest.mark.parametrize(
    ("error", "text", "status"),
    [
        (Denied("no", rule="t/deny[0]", hint="ask"),
         "taskgate: no\r\ntaskgate: rule t/deny[0]\r\ntaskgate: ask\r\n", 126),
        (Denied("denied by t/deny[0]", rule="t/deny[0]"), "taskgate: denied by t/deny[0]\r\n", 126),
        (Unreadable("what?"), "taskgate: what?\r\n", 126),
        (UpstreamFault("gone"), "taskgate: gone\r\n", 125),
        (NotRecorded("full"), "taskgate: full\r\n", 125),
    ],
)  # fmt: skip
def test_refusals(error: TaskgateError, text: str, status: int) -> None:
    assert refusal(error) == text
    assert status_of(error) == status


def test_nothing_in_a_refusal_moves_the_cursor() -> None:
    said = notice("a\x1b[2Jb\nc\x9bd\u202ee", "\x07")
    assert said.replace("\r\n", "").isprintable()
    assert said.count("\n") == 2
    assert len(notice("x" * 10_000)) < 3_000
