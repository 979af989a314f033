"""Alerts as HTTP requests to an address of the operator's choice.

The body is JSON; `X-Taskgate-Signature: sha256=HEX` is its HMAC under the configured secret, so
that the receiver can tell that the gateway sent it. Delivery is tried a few times and never waited
for.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from dataclasses import asdict
from typing import Final

import httpx
import structlog

from taskgate.model import limits
from taskgate.model.break_glass import Alert
from taskgate.model.secret import Secret

_log = structlog.get_logger(__name__)
TIMEOUT_S: Final = 5.0


class Webhook:
    """One address. `secret` signs, where there is one."""

    def __init__(
        self, url: str, secret: Secret | None, tries: int = 3, pause_s: float = 2.0
    ) -> None:
        self._url = url
        self._secret = secret
        self._tries = tries
        self._pause_s = pause_s
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, alert: Alert) -> None:
        """Sends in the background; more than can be waited for are dropped, and logged so."""
        if len(self._under_way) >= limits.MAX_WEBHOOKS:
            _log.error("alert.not_sent", alert=alert.id, why="too many are under way")
            return
        task = asyncio.get_running_loop().create_task(self._deliver(alert))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Gives what is under way a last moment."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=TIMEOUT_S)
        for task in self._under_way:
            task.cancel()

    async def _deliver(self, alert: Alert) -> None:
        body = json.dumps(asdict(alert), separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "taskgate"}
        if self._secret is not None:
            mac = hmac.new(self._secret.reveal_bytes(), body, hashlib.sha256).hexdigest()
            headers["X-Taskgate-Signature"] = f"sha256={mac}"
        why = ""
        for number in range(self._tries):
            if number:
                await asyncio.sleep(self._pause_s)
            try:
                async with httpx.AsyncClient(
                    timeout=TIMEOUT_S, trust_env=False, follow_redirects=False
                ) as client:
                    answer = await client.post(self._url, content=body, headers=headers)
                if answer.is_success:
                    return
                why = f"HTTP status {answer.status_code}"
            except httpx.HTTPError as error:
                why = type(error).__name__
        _log.error("alert.not_sent", alert=alert.id, why=why)
