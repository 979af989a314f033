"""The recordings of one gateway: open them, keep their chain, recover what a crash left."""

import fcntl
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from taskgate.model import limits
from taskgate.model.errors import BadConfig, NotRecorded
from taskgate.model.event import Event
from taskgate.model.grant import SessionInfo
from taskgate.recording import heads, layout
from taskgate.recording.files import FilePool, LogFile, make_directory, sync_directory
from taskgate.recording.format import Head, Trailer, encode_trailer, head_message, valid_name
from taskgate.recording.gateway_log import GatewayLog
from taskgate.recording.group_commit import GroupCommit, sync_now
from taskgate.recording.heads import Anchor, HeadsChain
from taskgate.recording.keys import key_id
from taskgate.recording.opening import log_opened, session_opened
from taskgate.recording.packing import pack
from taskgate.recording.recording import Recording

Durability = Literal["process", "disk"]


class Journal:
    """Opens recordings in one audit directory, of which it is the only writer.

    `durability`: with `process` a written event outlives the gateway's end, a SIGKILL too; with
    `disk` it outlives the machine's. See docs/adr/0002-durability.md.

    Call `recovery.recover` before the first `open`; `checkpoint` every minute or so; `close` at
    the end.
    """

    def __init__(
        self,
        directory: Path,
        durability: Durability,
        key: Ed25519PrivateKey,
        clock: Callable[[], float],
        *,
        gateway: str = "",
        packed: bool = False,
        max_open_files: int = limits.MAX_OPEN_RECORDING_FILES,
        write: Callable[[int, bytes | bytearray], int] = os.write,
    ) -> None:
        """`gateway` is this gateway's name in every recording, by default its key's id; `packed`
        compresses sealed recordings; `write` is a test's way to a failing disk.

        Raises:
            BadConfig: another gateway writes here, or the chain is another's.
            NotRecorded: the directory cannot be written.
        """
        self.directory = directory
        self.durability: Durability = durability
        self.key = key
        self.key_id = key_id(key.public_key())
        self.gateway = gateway or self.key_id
        self.clock = clock
        # Sealed recordings that stayed as they were because packing failed: for metrics.
        self.packing_failures = 0
        make_directory(directory / layout.OPEN_DIR)
        self._lock = _lock(directory)
        self._pool = FilePool(max_open_files, write)
        self._live: dict[str, Recording] = {}
        try:
            self.heads = HeadsChain(directory, self.gateway, key, clock(), write)
        except BaseException:
            os.close(self._lock)
            raise
        self._commit = GroupCommit(lambda: self.heads.file) if durability == "disk" else None
        self._packer = ThreadPoolExecutor(1, thread_name_prefix="taskgate-pack") if packed else None
        self.gateway_log = GatewayLog(self.open_log)

    @property
    def anchor(self) -> Anchor:
        """The newest entry of the gateway-wide chain. Kept elsewhere, it shows later whether
        the end of the chain was dropped."""
        return self.heads.anchor

    @property
    def live(self) -> tuple[Recording, ...]:
        return tuple(self._live.values())

    def open(self, info: SessionInfo, *, reason: str = "") -> Recording:
        """A new recording, its first event written and its opening in the chain. `reason` is
        the grant's.

        Raises:
            NotRecorded: it cannot be written; the session must not begin.
        """
        event = session_opened(info, reason, self.gateway, self.heads.anchor)
        return self._open(info.id, event)

    def open_log(self, now: float) -> Recording:
        """A new part of the gateway's own log; `gateway_log` calls this.

        Raises:
            NotRecorded: it cannot be written.
        """
        # The chain's number makes the name unique: each opening adds an entry.
        day = layout.day_of(now).replace("/", "")
        recording = f"gateway-{day}-{self.heads.anchor.number + 1:08}"
        event = log_opened(recording, self.gateway, self.heads.anchor, now)
        return self._open(recording, event)

    def checkpoint(self, now: float) -> tuple[str, ...]:
        """Signs what every open recording amounts to so far, and looks whether its file is still
        the one that was written. Answers the ids of those that are not: they are unusable, and
        their sessions should end.

        Raises:
            NotRecorded: the marks cannot be written.
        """
        changed: list[str] = []
        marks: list[tuple[str, int, str]] = []
        for recording in self._live.values():
            if recording.failed:
                continue
            try:
                recording.file.check()
            except NotRecorded as error:
                recording.fail(error.message)
                changed.append(recording.id)
                continue
            if recording.written_count > recording.marked:
                marks.append((recording.id, recording.written_count, recording.written_hash.hex()))
        self.heads.file.check()
        for start in range(0, len(marks), limits.MAX_MARKS_PER_ENTRY):
            some = marks[start : start + limits.MAX_MARKS_PER_ENTRY]
            self.heads.append(heads.MARKS, now, {"marks": some})
            for name, count, _ in some:
                self._live[name].marked = count
        return tuple(changed)

    def close(self, now: float) -> None:
        """Seals what is still open, the gateway's log last, and gives the directory up. What
        cannot be sealed is left to the next start's recovery."""
        with suppress(NotRecorded):
            for recording in self.live:
                if recording is not self.gateway_log.current:
                    with suppress(NotRecorded):
                        recording.seal(now)
            self.gateway_log.seal(now)
        if self._packer is not None:
            self._packer.shutdown(wait=True)
        if self._commit is not None:
            self._commit.close()
            with suppress(NotRecorded):
                sync_now(self.heads.file)
        for recording in self.live:
            recording.file.close()
        self._live.clear()
        self.heads.close()
        os.close(self._lock)

    # What follows is for Recording and recovery.

    def trailer(self, head: Head) -> bytes:
        """The signed trailer's line."""
        signature = self.key.sign(head_message(head)).hex()
        return encode_trailer(Trailer(head, self.key_id, signature))

    def note_sealed(self, recording: Recording, head: Head) -> None:
        """Enters the written seal into the gateway-wide chain. Raises NotRecorded."""
        if self.durability == "disk":
            sync_now(recording.file)
        recording.file.check()
        self.note_head(head)

    def note_head(self, head: Head) -> None:
        """The chain's entry for a sealed recording. Raises NotRecorded."""
        facts: dict[str, Any] = {
            "recording": head.recording,
            "file": layout.sealed_name(head.recording, head.opened_at),
            "count": head.count,
            "hash": head.hash,
            "opened_at": head.opened_at,
            "sealed_at": head.sealed_at,
        }
        self.heads.append(heads.SEALED, head.sealed_at, facts)

    def note_opened(self, recording: str, opened_at: float) -> None:
        """The chain's entry for an opened recording. Raises NotRecorded."""
        facts = {"recording": recording, "file": layout.sealed_name(recording, opened_at)}
        self.heads.append(heads.OPENED, opened_at, facts)

    def put_away(self, recording: Recording, head: Head) -> None:
        """Moves the sealed file to its day. Raises NotRecorded."""
        if self.durability == "disk":
            sync_now(self.heads.file)
        recording.file.close()
        self._live.pop(recording.id, None)
        self.move_sealed(recording.file.path, head)

    def abandon(self, recording: Recording) -> None:
        """Leaves a recording that could not be sealed to recovery."""
        recording.file.close()
        self._live.pop(recording.id, None)

    def move_sealed(self, path: Path, head: Head) -> Path:
        """From `open/` to the recording's day, and packed later. Raises NotRecorded."""
        target = self.directory / layout.sealed_name(head.recording, head.opened_at)
        make_directory(target.parent)
        if target.exists():
            raise NotRecorded(f"the recording {target.name} is in the way of one just sealed")
        try:
            path.chmod(0o400)
            path.rename(target)
            if self.durability == "disk":
                sync_directory(target.parent)
        except OSError as error:
            raise NotRecorded(f"{path.name} cannot be put away: {error.strerror}") from error
        if self._packer is not None:
            self._packer.submit(self._pack, target)
        return target

    def reopen(self, path: Path, opened_at: float) -> Recording:
        """A recording that an earlier run left, to be recovered. Raises NotRecorded."""
        file = self._pool.reopen(path)
        return Recording(file, layout.recording_of(path), self.gateway, opened_at, self)

    def is_live(self, recording: str) -> bool:
        return recording in self._live

    def _open(self, recording: str, event: Event) -> Recording:
        if not valid_name(recording):
            raise NotRecorded("a session's id must be letters, digits, - and _ to be recorded")
        path = layout.open_path(self.directory, recording)
        if (self.directory / layout.sealed_name(recording, event.at)).exists():
            raise NotRecorded(f"there is a recording {recording} already")
        file = self._pool.create(path)
        opened = Recording(file, recording, self.gateway, event.at, self, self._settle_function())
        try:
            opened.append(event)
            opened.flush()
            # In this order: a crash in between leaves a file that recovery enters late; the
            # other way round it would look as if somebody had removed the file.
            self.note_opened(recording, event.at)
        except NotRecorded:
            file.close()
            with suppress(OSError):
                path.unlink()
            raise
        self._live[recording] = opened
        return opened

    def _settle_function(self) -> Callable[[LogFile], Awaitable[None]] | None:
        return None if self._commit is None else self._commit.settle

    def _pack(self, path: Path) -> None:
        try:
            pack(path, self.directory / layout.OPEN_DIR)
        except OSError:
            self.packing_failures += 1


def _lock(directory: Path) -> int:
    """Only one process may append. The lock goes with the process, however it ends."""
    path = directory / layout.LOCK_FILE
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise NotRecorded(f"the audit directory cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise BadConfig(
            "another gateway writes to this audit directory",
            where=str(directory),
            hint="give each gateway a directory of its own, or stop the other one",
        ) from error
    return fd
