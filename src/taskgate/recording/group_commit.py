"""Durability `disk`: the fsyncs of many sessions, grouped, and off the event loop.

Whoever asks while a round is under way waits for the next one. One thread does them all: the disk
is one, and a second thread would only queue inside the file system.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from taskgate.model.errors import NotRecorded
from taskgate.recording.files import LogFile, sync_directory


@dataclass(eq=False, slots=True)
class _Round:
    files: dict[LogFile, None] = field(default_factory=dict)
    done: "asyncio.Future[dict[LogFile, str]] | None" = None


@dataclass(frozen=True, slots=True)
class _Target:
    """What the thread needs: it touches no LogFile. `new`: its name must reach the disk too."""

    file: LogFile
    fd: int
    size: int
    new: bool


class GroupCommit:
    """`settle(file)` returns once the file, and the gateway-wide chain, are on the disk.

    Belongs to one event loop. `heads` answers the chain's present file: a recording whose
    opening is not in the chain would not be missed.
    """

    def __init__(self, heads: Callable[[], LogFile]) -> None:
        self._heads = heads
        self._next: _Round | None = None
        self._runner: asyncio.Task[None] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="taskgate-fsync")
        # For metrics: rounds done, and files brought to the disk by them.
        self.rounds = 0
        self.files = 0

    async def settle(self, file: LogFile) -> None:
        """
        Raises:
            NotRecorded: the disk failed; what it has of the file is not known.
        """
        heads = self._heads()
        wanted = [each for each in (file, heads) if each.size != each.synced]
        if not wanted:
            return
        loop = asyncio.get_running_loop()
        if self._next is None:
            self._next = _Round(done=loop.create_future())
        round_ = self._next
        round_.files.update(dict.fromkeys(wanted))
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run(loop))
        if round_.done is None:
            raise AssertionError("a round has a future")
        # One who gives up waiting must not end the round for the others.
        failed = await asyncio.shield(round_.done)
        for each in wanted:
            if each in failed:
                raise NotRecorded(
                    f"the recording {each.path.name} did not reach the disk: {failed[each]}",
                    hint="repair the disk that holds the recordings",
                )

    def close(self) -> None:
        """Waits for the round under way."""
        self._executor.shutdown(wait=True)

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (round_ := self._next) is not None:
            self._next = None
            failed: dict[LogFile, str] = {}
            targets: list[_Target] = []
            for file in round_.files:
                try:
                    targets.append(_Target(file, file.open_fd(), file.size, file.synced == 0))
                    # Pinned: its descriptor must not be given up, and used anew, meanwhile.
                    file.pin()
                except NotRecorded as error:
                    failed[file] = error.message
            try:
                failed |= await loop.run_in_executor(self._executor, _sync_all, targets)
            except RuntimeError as error:
                failed |= dict.fromkeys(round_.files, str(error))
            for target in targets:
                target.file.unpin()
                if target.file not in failed:
                    target.file.synced = max(target.file.synced, target.size)
            self.rounds += 1
            self.files += len(targets)
            if round_.done is not None and not round_.done.done():
                round_.done.set_result(failed)


def sync_now(file: LogFile) -> None:
    """Brings the file to the disk, and waits: for start and shutdown, never in a session's way.

    Raises:
        NotRecorded: the disk failed.
    """
    if file.size == file.synced:
        return
    target = _Target(file, file.open_fd(), file.size, file.synced == 0)
    if failed := _sync_all([target]):
        raise NotRecorded(f"the recording {file.path.name} did not reach the disk: {failed[file]}")
    file.synced = target.size


def _sync_all(targets: list[_Target]) -> dict[LogFile, str]:
    failed: dict[LogFile, str] = {}
    directories = {target.file.path.parent for target in targets if target.new}
    for target in targets:
        try:
            os.fdatasync(target.fd)
        except OSError as error:
            failed[target.file] = error.strerror or str(error)
    for directory in directories:
        try:
            sync_directory(directory)
        except OSError as error:
            lost = (t.file for t in targets if t.new and t.file.path.parent == directory)
            failed |= dict.fromkeys(lost, error.strerror or str(error))
    return failed
