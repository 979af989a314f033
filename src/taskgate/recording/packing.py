"""A sealed recording, compressed: the same lines in one Zstandard frame (RFC 8878)."""

import os
from pathlib import Path

import zstandard

from taskgate.recording.files import sync_directory
from taskgate.recording.layout import packed_path

_LEVEL = 9


def pack(sealed: Path, scratch: Path) -> Path:
    """Replaces the file by its packed form; `scratch` is a directory on the same file system.
    At every moment one of the two is there whole.

    Raises:
        OSError: it stays as it is.
    """
    target = packed_path(sealed)
    part = scratch / f"{target.name}.part"
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    try:
        with sealed.open("rb") as plain, part.open("wb") as packed:
            os.fchmod(packed.fileno(), 0o400)
            compressor.copy_stream(plain, packed)
            packed.flush()
            os.fsync(packed.fileno())
        part.rename(target)
        sync_directory(target.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sealed.unlink()
    return target
