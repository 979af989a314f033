"""Local passwords: argon2id (RFC 9106), off the event loop, a bounded number at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from taskgate.model import limits
from taskgate.model.errors import OverLimit

MIN_PASSWORD_CHARS: Final = 8
MAX_PASSWORD_CHARS: Final = 1024

T = TypeVar("T")


class Passwords:
    """Hashes and verifies. Each check takes 64 MiB and some 50 ms of a core (RFC 9106 section 4,
    second recommended option), so only `PASSWORD_WORKERS` run at once and
    `MAX_PASSWORD_CHECKS` wait; more are refused at the door."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._pool = ThreadPoolExecutor(limits.PASSWORD_WORKERS, thread_name_prefix="password")
        self._waiting = 0
        # What an unknown name is verified against, so that it takes as long as a known one.
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """argon2's encoded string. Raises: OverLimit, ValueError (too short or too long)."""
        if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
            raise ValueError(
                f"a password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters"
            )
        return await self._run(lambda: self._hasher.hash(_bytes(password)))

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether `password` is the one that was hashed.

        With None it does the same work for nobody, and is False. Raises: OverLimit.
        """
        # The length is cut first: a long password must cost no more than a right one.
        asked = _bytes(password[: MAX_PASSWORD_CHARS + 1])
        same = await self._run(lambda: self._verify(password_hash or self._nobody, asked))
        return same and password_hash is not None and len(password) <= MAX_PASSWORD_CHARS

    def outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= limits.MAX_PASSWORD_CHECKS:
            raise OverLimit(
                "too many people are signing in at once",
                hint="try again in a few seconds",
            )
        self._waiting += 1
        future = self._pool.submit(work)
        # Counted until the thread is done, not until the caller stops waiting for it.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _done(loop, self._finished))
        return await asyncio.wrap_future(future)

    def _finished(self) -> None:
        self._waiting -= 1


def _done(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    # A loop that has closed meanwhile has no count left to keep.
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
