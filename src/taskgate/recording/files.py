"""Append-only files: one write, whole or taken back; and how many of them stay open.

Ten thousand sessions may record at once, beside their twenty thousand sockets. Only the files
written last keep a descriptor; another is opened again for its next write, and must then be the
same file with the same size, or somebody else has written to it.
"""

import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from taskgate.model import limits
from taskgate.model.errors import NotRecorded

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_HINT = "free space on, or repair, the disk that holds the recordings"


class LogFile:
    """One append-only file. `size` counts the bytes that are whole, `synced` those on the disk.

    Get one from `FilePool.create` or `.reopen`. While `pins` is above zero another thread uses
    its descriptor, which stays open.
    """

    __slots__ = ("_closing", "_identity", "_pool", "fd", "path", "pins", "size", "synced", "torn")

    def __init__(self, pool: "FilePool", path: Path, fd: int) -> None:
        self._pool = pool
        self.path = path
        self.fd = fd
        self.pins = 0
        self._closing = False
        self.torn = False
        status = os.fstat(fd)
        self._identity = (status.st_dev, status.st_ino)
        self.size = status.st_size
        self.synced = 0

    def append(self, content: bytes | bytearray) -> None:
        """Writes all of it in one write.

        Raises:
            NotRecorded: it could not be written whole. What was written of it is taken back;
                where even that fails, `torn` says so.
        """
        if self.torn:
            self.take_back()
        fd = self.open_fd()
        try:
            written = self._pool.write(fd, content)
        except OSError as error:
            self._try_take_back()
            raise _not_recorded(self.path, error) from error
        if written != len(content):
            self._try_take_back()
            raise NotRecorded(
                f"only {written} of {len(content)} bytes could be recorded", hint=_HINT
            )
        self.size += written

    def open_fd(self) -> int:
        """The descriptor, opened again if it was given up.

        Raises:
            NotRecorded: it cannot be opened, or is not the file that it was.
        """
        if self.fd >= 0:
            self._pool.touch(self)
            return self.fd
        if self._closing:
            raise NotRecorded(f"the recording {self.path.name} is closed")
        try:
            fd = os.open(self.path, _APPEND)
        except OSError as error:
            raise _not_recorded(self.path, error) from error
        try:
            self._check(os.fstat(fd))
        except NotRecorded:
            os.close(fd)
            raise
        self.fd = fd
        self._pool.opened(self)
        return fd

    def check(self) -> None:
        """Looks at the file's name on the disk.

        Raises:
            NotRecorded: it is gone, was replaced, or has another size than was written.
        """
        try:
            self._check(os.stat(self.path, follow_symlinks=False))
        except OSError as error:
            raise _not_recorded(self.path, error) from error

    def take_back(self) -> None:
        """Cuts the file to what was written whole.

        Raises:
            NotRecorded: it cannot be cut; `torn` stays.
        """
        self.torn = True
        try:
            os.ftruncate(self.open_fd() if self.fd < 0 else self.fd, self.size)
        except OSError as error:
            raise _not_recorded(self.path, error) from error
        self.torn = False

    def close(self) -> None:
        """Gives the descriptor up for good, once nobody uses it any more."""
        self._closing = True
        if not self.pins:
            self._pool.release(self)

    def pin(self) -> None:
        self.pins += 1

    def unpin(self) -> None:
        self.pins -= 1
        if self._closing and not self.pins:
            self._pool.release(self)

    def _try_take_back(self) -> None:
        # The caller is told of the first failure; recovery cuts what could not be cut here.
        with suppress(NotRecorded):
            self.take_back()

    def _check(self, status: os.stat_result) -> None:
        if (
            (status.st_dev, status.st_ino) != self._identity
            or not stat.S_ISREG(status.st_mode)
            or (status.st_size != self.size and not self.torn)
            or status.st_nlink != 1
        ):
            raise NotRecorded(
                f"somebody else changed or replaced the recording {self.path.name}",
                hint="run `taskgate audit verify`, and find out who writes to the audit directory",
            )


class FilePool:
    """Opens append-only files, and keeps at most `max_open` descriptors of those not pinned.

    `write` is `os.write`; tests put a failing disk in its place.
    """

    __slots__ = ("_open", "max_open", "write")

    def __init__(
        self,
        max_open: int = limits.MAX_OPEN_RECORDING_FILES,
        write: Callable[[int, bytes | bytearray], int] = os.write,
    ) -> None:
        self.max_open = max_open
        self.write = write
        self._open: OrderedDict[int, LogFile] = OrderedDict()

    def create(self, path: Path) -> LogFile:
        """A new file, mode 0600; its directory must be there.

        Raises:
            NotRecorded: it is there already, or cannot be made.
        """
        return self._open_path(path, _APPEND | os.O_CREAT | os.O_EXCL)

    def reopen(self, path: Path) -> LogFile:
        """A file of an earlier run, to be appended to.

        Raises:
            NotRecorded: it cannot be opened, or is no plain file with one name.
        """
        file = self._open_path(path, _APPEND)
        file.check()
        return file

    def touch(self, file: LogFile) -> None:
        self._open.move_to_end(file.fd)

    def opened(self, file: LogFile) -> None:
        self._open[file.fd] = file
        if len(self._open) > self.max_open:
            self._give_up_one(file)

    def release(self, file: LogFile) -> None:
        if file.fd >= 0:
            self._open.pop(file.fd, None)
            os.close(file.fd)
            file.fd = -1

    @property
    def open_count(self) -> int:
        return len(self._open)

    def _open_path(self, path: Path, flags: int) -> LogFile:
        try:
            fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise _not_recorded(path, error) from error
        file = LogFile(self, path, fd)
        self.opened(file)
        return file

    def _give_up_one(self, newest: LogFile) -> None:
        # Pinned files are few: those whose fsync is under way.
        for file in self._open.values():
            if file.pins == 0 and file is not newest:
                self.release(file)
                return


def make_directory(path: Path) -> None:
    """The directory and its parents, mode 0700 where they are new.

    Raises:
        NotRecorded: it cannot be made.
    """
    try:
        for parent in (*reversed(path.parents), path):
            if not parent.exists():
                parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _not_recorded(path, error) from error


def sync_directory(path: Path) -> None:
    """Brings the names in the directory to the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _not_recorded(path: Path, error: OSError) -> NotRecorded:
    # The client sees this message: it names no directory.
    return NotRecorded(
        f"the recording {path.name} cannot be written: {error.strerror or error}", hint=_HINT
    )
