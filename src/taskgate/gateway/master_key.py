"""The key above all stored secrets: a file of the gateway's own.

One line a key: `taskgate-master-key-1 ID BASE64`. The first one seals; the others only open, and
are there while a rotation is under way. The file is the owner's alone (0600), made at the first
start, and never in the store: a stolen database opens nothing.
"""

import base64
import binascii
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from taskgate.gateway.private_files import read_private
from taskgate.model.errors import BadConfig

_MARK: Final = "taskgate-master-key-1"
KEY_BYTES: Final = 32
_RESTORE: Final = "restore it from a backup"
_MAX_FILE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class MasterKey:
    """One key. `key` is 32 bytes; `id` names it in the store and tells nothing of it."""

    id: str
    key: bytes = field(repr=False)


def new_master_key() -> MasterKey:
    return MasterKey(secrets.token_hex(8), secrets.token_bytes(KEY_BYTES))


def load_or_create(path: Path) -> tuple[MasterKey, ...]:
    """The keys, newest first; at the first start a new one is made and written.

    Raises: BadConfig where the file is somebody else's to read, or is not what it should be.
    """
    if not path.exists():
        try:
            _write(path, (new_master_key(),), new=True)
        except FileExistsError:
            # Another node was first; its key counts.
            pass
        except OSError as error:
            raise _unusable(path, f"cannot be made: {error.strerror}") from None
    return load(path)


def load(path: Path) -> tuple[MasterKey, ...]:
    """The keys, newest first. Raises: BadConfig."""
    what = f"the master key {path}"
    return parse(read_private(path, what=what, forbidden=0o077, max_bytes=_MAX_FILE_BYTES), what)


def replace(path: Path, keys: tuple[MasterKey, ...]) -> None:
    """Writes the keys so that a crash leaves either the old file or the new one.

    Raises: BadConfig.
    """
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        _write(beside, keys, new=True)
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _unusable(path, f"cannot be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)


def _write(path: Path, keys: tuple[MasterKey, ...], *, new: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if new else os.O_TRUNC)
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for key in keys:
            file.write(f"{_MARK} {key.id} {base64.b64encode(key.key).decode()}\n".encode())
        file.flush()
        os.fsync(descriptor)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parse(text: bytes, what: str) -> tuple[MasterKey, ...]:
    """The keys in a file's form; `what` names it in errors. Raises: BadConfig."""
    keys = tuple(_parse(line, what) for line in text.splitlines() if line.strip())
    if not keys:
        raise BadConfig(f"{what} is empty", hint=_RESTORE)
    return keys


def _parse(line: bytes, what: str) -> MasterKey:
    words = line.decode("ascii", "replace").split()
    if len(words) == 3 and words[0] == _MARK:
        try:
            key = base64.b64decode(words[2], validate=True)
        except binascii.Error:
            key = b""
        if len(key) == KEY_BYTES:
            return MasterKey(words[1], key)
    # Never the line itself: it may hold most of a key.
    raise BadConfig(f"{what} does not have a master key's form", hint=_RESTORE)


def _unusable(path: Path, what: str, hint: str = "") -> BadConfig:
    return BadConfig(f"the master key {path} {what}", hint=hint)
