"""A thread that follows the store's revocations, so that no load of the event loop delays it."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue

import structlog

from taskgate.model import limits
from taskgate.model.errors import StoreUnavailable
from taskgate.model.ports import RevocationReader
from taskgate.model.token import Revocation

_log = structlog.get_logger(__name__)
_BATCH = 1_000


class Follower:
    """Asks the store each `limits.REVOCATION_POLL_S`, in order, missing none.

    `sighted_at`, which any thread may read, is the monotonic time up to which every revocation was
    given to `heard`; None until the store has first answered. `heard` is called in the thread, and
    before `sighted_at` moves on.
    """

    def __init__(
        self,
        open_reader: Callable[[], RevocationReader],
        monotonic: Callable[[], float],
        heard: Callable[[Sequence[Revocation]], None],
    ) -> None:
        self.sighted_at: float | None = None
        self._open_reader = open_reader
        self._monotonic = monotonic
        self._heard = heard
        # What was revoked before the thread began is in the store's grants themselves.
        self._sequence: int | None = None
        self._reader: RevocationReader | None = None
        self._failing = False
        # Those who wait for the next answer; None ends the thread.
        self._asked: SimpleQueue[Future[None] | None] = SimpleQueue()
        # A store that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="follow revocations", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self) -> "Future[None]":
        """Asks the store now; done once everything in it is heard. Its exception may be
        StoreUnavailable."""
        asked: Future[None] = Future()
        self._asked.put(asked)
        return asked

    def stop(self) -> None:
        """Ends the thread, which takes as long as the store's answer under way."""
        self._asked.put(None)
        self._thread.join(limits.STORE_TIMEOUT_S)
        self._refuse_rest()

    def _run(self) -> None:
        waiting: list[Future[None]] = []
        while self._next(waiting):
            error = self._look()
            for asked in waiting:
                if not asked.set_running_or_notify_cancel():
                    continue
                if error is None:
                    asked.set_result(None)
                else:
                    asked.set_exception(error)
            waiting.clear()
        for asked in waiting:
            asked.cancel()
        self._close()

    def _next(self, waiting: list["Future[None]"]) -> bool:
        """Waits until it is time to look, or somebody asks; False if this is the end."""
        with suppress(Empty):
            found = self._asked.get(timeout=limits.REVOCATION_POLL_S)
            while found is not None:
                waiting.append(found)
                found = self._asked.get_nowait()
            return False
        return True

    def _look(self) -> StoreUnavailable | None:
        try:
            self._catch_up()
        except StoreUnavailable as error:
            # Going on is right here: who is blind refuses what cannot be vouched for.
            if not self._failing:
                _log.error("revocations.blind", error=error.message)
            self._failing = True
            self._close()
            return error
        except Exception as error:
            # A driver's own kind of failure is no less a fault, and this thread must not end.
            _log.exception("revocations.blind")
            self._failing = True
            self._close()
            return StoreUnavailable(f"the state store cannot be read ({type(error).__name__})")
        if self._failing:
            _log.info("revocations.sighted")
        self._failing = False
        return None

    def _catch_up(self) -> None:
        if self._reader is None:
            self._reader = self._open_reader()
        if self._sequence is None:
            self._sequence = self._reader.last()
        while True:
            asked_at = self._monotonic()
            found = self._reader.after(self._sequence, _BATCH)
            if found:
                self._heard(found)
                self._sequence = found[-1].sequence
            if len(found) < _BATCH:
                self.sighted_at = asked_at
                return

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            try:
                reader.close()
            except Exception:
                _log.exception("revocations.not_closed")

    def _refuse_rest(self) -> None:
        """Nobody is left waiting for a thread that has ended."""
        with suppress(Empty):
            while True:
                asked = self._asked.get_nowait()
                if asked is not None:
                    asked.cancel()
