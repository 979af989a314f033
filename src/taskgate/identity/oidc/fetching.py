"""Asking a provider over HTTP: in bounded time, bounded size, and nowhere it was not sent.

No redirects, no proxy of the environment, no compression (a small answer must stay small).
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from taskgate.model import limits
from taskgate.model.errors import BadConfig

_JSON: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}
_CONNECTIONS: Final = 8


class NoAnswer(Exception):
    """The provider could not be asked. The text says why, and holds nothing that it sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer read whole. The body may hold tokens, so it does not show."""

    status: int
    body: bytes = field(repr=False)


class Fetcher:
    """One client for providers behind one set of authorities. `ca_file` (PEM) stands in for the
    system's own list."""

    def __init__(self, ca_file: Path | None = None) -> None:
        """Raises: BadConfig where the file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        except (OSError, ssl.SSLError) as error:
            raise BadConfig(f"cannot use the CA file {ca_file}: {error}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._client = httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(limits.PROVIDER_TIMEOUT_S),
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=2),
            headers=_JSON,
        )

    async def get(self, url: str, max_bytes: int = limits.MAX_PROVIDER_ANSWER_BYTES) -> Answer:
        """Raises: NoAnswer."""
        return await self._exchange(self._client.build_request("GET", url), max_bytes)

    async def post(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Sends a form. Raises: NoAnswer."""
        request = self._client.build_request("POST", url, data=dict(form), headers=headers or {})
        return await self._exchange(request, limits.MAX_PROVIDER_ANSWER_BYTES)

    async def close(self) -> None:
        await self._client.aclose()

    async def _exchange(self, request: httpx.Request, max_bytes: int) -> Answer:
        try:
            # The client's own timeouts are between bytes; a drip of them would hold us for ever.
            async with asyncio.timeout(limits.PROVIDER_TIMEOUT_S):
                return await self._read(request, max_bytes)
        except TimeoutError:
            raise NoAnswer(f"no answer within {limits.PROVIDER_TIMEOUT_S:g} s") from None
        except httpx.TimeoutException:
            raise NoAnswer(f"no answer within {limits.PROVIDER_TIMEOUT_S:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ssl.SSLError) as error:
            raise NoAnswer(f"no connection ({type(error).__name__})") from None

    async def _read(self, request: httpx.Request, max_bytes: int) -> Answer:
        response = await self._client.send(request, stream=True)
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise NoAnswer("it compresses its answers unasked")
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > max_bytes:
                    raise NoAnswer(f"its answer is larger than {max_bytes} bytes")
            return Answer(response.status_code, bytes(body))
        finally:
            await response.aclose()


def ensure_fetchable(url: str, what: str) -> None:
    """That `url` is https, or http to this machine itself (a sidecar, a test).

    Raises: ValueError.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host or parts.username or parts.password or parts.fragment or not url.isprintable():
        raise ValueError(f"{what}: write a whole address, such as https://login.example.com")
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
        return
    raise ValueError(f"{what} must begin with https://")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
