"""Alerts on their way out: bounded, and never waited for."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from taskgate.gateway import webhook as module
from taskgate.gateway.webhook import Webhook
from taskgate.model import limits
from taskgate.model.break_glass import Alert
from tests.patience import PATIENCE_S

ALERT = Alert("al-1", 1.0, "break_glass.used", "local:ann", "repair", "bg-1", "ann did")


class Slow:
    """A receiver that answers when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.asked = 0

    async def __call__(self, *_: object, **__: object) -> httpx.Response:
        self.asked += 1
        await self.let.wait()
        return httpx.Response(204)


@pytest.mark.cap("MAX_WEBHOOKS")
async def test_more_than_can_be_under_way_are_dropped_and_nothing_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_WEBHOOKS", 2)
    monkeypatch.setattr(module, "TIMEOUT_S", PATIENCE_S)
    slow = Slow()
    monkeypatch.setattr(httpx.AsyncClient, "post", slow)
    webhook = Webhook("https://alerts.example.com", None)
    for number in range(5):
        webhook.send(replace(ALERT, id=f"al-{number}"))
    await asyncio.sleep(0.1)
    slow.let.set()
    await webhook.close()
    assert slow.asked == 2


async def test_a_receiver_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", PATIENCE_S)
    answers: list[httpx.Response | Exception] = [
        httpx.ConnectError("no"),
        httpx.Response(500),
        httpx.Response(204),
    ]
    bodies = []

    async def post(*_: object, content: bytes, **__: object) -> httpx.Response:
        bodies.append(content)
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(httpx.AsyncClient, "post", post)
    webhook = Webhook("https://alerts.example.com", None, pause_s=0.01)
    webhook.send(ALERT)
    await webhook.close()
    assert answers == []
    assert len(set(bodies)) == 1
