"""The lines of a file, plain or packed, in bounded memory."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from taskgate.model import limits
from taskgate.model.errors import Unreadable

# A packed recording asks for no more memory than this to be unpacked.
_MAX_WINDOW_BYTES = 8 * limits.MIB


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its LF. `start` is where it begins, in bytes of the unpacked file;
    `whole` is False for one without LF, or cut because it is over the cap of a line."""

    text: bytes
    start: int
    whole: bool


def read_lines(file: BinaryIO) -> Iterator[Line]:
    """The lines of an open file; the last may not be whole.

    Raises:
        Unreadable: the file is packed, and damaged.
    """
    start = 0
    while True:
        try:
            text = file.readline(limits.MAX_EVENT_BYTES)
        except zstandard.ZstdError as error:
            raise Unreadable(f"the packed file is damaged: {error}") from error
        if not text:
            return
        whole = text.endswith(b"\n")
        yield Line(text[:-1] if whole else text, start, whole)
        start += len(text)


@contextmanager
def open_lines(path: Path) -> Iterator[Iterator[Line]]:
    """The lines of a recording's file, unpacked if its name ends in `.zst`.

    Raises:
        OSError: it cannot be opened.
        Unreadable: it is no plain file; or it is packed, and damaged.
    """
    # A pipe in a recording's place must not be waited for.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Unreadable("it is no plain file")
        if path.suffix == ".zst":
            yield _packed_lines(file)
        else:
            yield read_lines(file)


def _packed_lines(file: BinaryIO) -> Iterator[Line]:
    # A flipped bit of the packing that unpacks to the very same bytes is no damage.
    unpacker = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    with io.BufferedReader(_as_raw(unpacker.stream_reader(file, closefd=False))) as plain:
        yield from read_lines(plain)


def _as_raw(reader: zstandard.ZstdDecompressionReader) -> io.RawIOBase:
    # It has RawIOBase's methods without being one by type.
    return cast(io.RawIOBase, reader)
