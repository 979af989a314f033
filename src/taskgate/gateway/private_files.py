"""Reading files that hold secrets, and only where nobody else could have read or made them."""

import os
import stat
from pathlib import Path

from taskgate.model.errors import BadConfig


def read_private(path: Path, *, what: str, forbidden: int, max_bytes: int) -> bytes:
    """The whole file. `forbidden` are permission bits that must not be set; `what` begins each
    error's message.

    The opened file is asked, not its name: between the two it could become another.
    Raises: BadConfig where it is not there, no regular file, too open, too large, or belongs
    neither to this process's user nor to root.
    """
    try:
        # Not to hang at a FIFO that nobody writes to.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "its name holds a NUL"
        raise BadConfig(f"{what} cannot be read: {why}") from None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise BadConfig(f"{what} is no regular file")
        if stat.S_IMODE(state.st_mode) & forbidden:
            raise BadConfig(
                f"{what} is open to others (mode {stat.S_IMODE(state.st_mode):04o})",
                hint=f"chmod 600 {path}",
            )
        if state.st_uid not in (os.geteuid(), 0):
            raise BadConfig(
                f"{what} belongs to another user", hint=f"chown it to uid {os.geteuid()}"
            )
        found = bytearray()
        while len(found) <= max_bytes:
            read = os.read(descriptor, max_bytes + 1 - len(found))
            if not read:
                return bytes(found)
            found += read
        raise BadConfig(f"{what} is larger than {max_bytes} bytes")
    except OSError as error:
        raise BadConfig(f"{what} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
