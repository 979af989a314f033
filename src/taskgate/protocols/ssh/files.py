"""File operations as requests that are judged: by the path that the host says it is."""

import hashlib
from dataclasses import dataclass, field

from taskgate.model.action import Action, Request
from taskgate.model.errors import Denied
from taskgate.model.paths import plain_path
from taskgate.protocols.ssh.bound import bound_request
from taskgate.protocols.ssh.kept_files import KeptFile
from taskgate.protocols.ssh.sftp_packets import Attributes, OpenFlag

# Set-user-ID, set-group-ID and sticky: more than what a new file is like.
_SPECIAL_BITS = 0o7000


def known_path(raw: bytes) -> str:
    """A path that the host has made absolute and plain, as text.

    Raises: Denied for one that is no UTF-8, or not plain after all.
    """
    try:
        return plain_path(raw.decode())
    except ValueError:
        raise Denied(
            "a path that is not absolute, plain UTF-8 text: it cannot be judged",
            rule="unreadable is refused",
            hint="write it whole, without .. in it",
        ) from None


def split_last(raw: bytes) -> tuple[bytes, bytes]:
    """A path's folder and its last name, for what is about the name itself and not where it leads.

    Raises: Denied where the last part is no name.
    """
    folder, slash, last = raw.rstrip(b"/").rpartition(b"/")
    if last in (b"", b".", b".."):
        raise Denied(
            "a path that ends in no name", rule="unreadable is refused", hint="write the name"
        )
    return (folder or b"/") if slash else b".", last


def opened(path: str, flags: int, attributes: Attributes) -> list[Action]:
    """What opening a file does."""
    actions = []
    if flags & OpenFlag.READ:
        actions.append(file_action("read", path))
    if flags & (OpenFlag.WRITE | OpenFlag.APPEND | OpenFlag.CREATE | OpenFlag.TRUNCATE):
        actions.append(file_action("write", path))
    if attributes.owner or (attributes.mode or 0) & _SPECIAL_BITS:
        actions.append(file_action("attributes", path))
    # With no flag at all a host may still open it.
    return actions or [file_action("read", path)]


def changed(path: str, attributes: Attributes) -> list[Action]:
    """What setting attributes does; to set a size is to write."""
    actions = [file_action("write", path)] if attributes.size is not None else []
    if attributes.size is None or attributes.mode is not None or attributes.owner:
        actions.append(file_action("attributes", path))
    return actions


def file_action(verb: str, path: str) -> Action:
    return Action(verb, path, "path", write=verb not in ("read", "list"))


def file_request(actions: list[Action], resource: str) -> Request:
    """As it is judged, held and recorded: `rename /a, rename /b`."""
    said = ", ".join(f"{action.verb} {action.object}" for action in actions)
    return bound_request(said, tuple(actions), resource, ("ssh file 1", said))


@dataclass(slots=True)
class Flow:
    """What went one way through an open file. The hash is of the bytes in order from `first`; None
    once they were not (a client may read and write where it likes)."""

    count: int = 0
    first: int | None = None
    _next: int = 0
    _hash: "hashlib._Hash | None" = field(default_factory=hashlib.sha256)

    def add(self, offset: int, data: bytes | memoryview) -> None:
        if self.first is None:
            self.first = self._next = offset
        self.count += len(data)
        if offset != self._next:
            self._hash = None
        elif self._hash is not None:
            self._hash.update(data)
            self._next += len(data)

    def facts(self, name: str) -> dict[str, object]:
        """For the recording: `read`, `read_sha256` and so on; nothing where nothing went."""
        if self.first is None:
            return {}
        found: dict[str, object] = {name: self.count}
        if self._hash is not None:
            found[f"{name}_sha256"] = self._hash.hexdigest()
        if self.first:
            found[f"{name}_from"] = self.first
        return found


@dataclass(slots=True)
class OpenFile:
    """What a handle of the host's stands for. `number` is the request that opened it, `writable`
    whether it was permitted to write. `kept` records its contents, where the task says so; `full`
    that something of it did not pass for want of room."""

    path: str
    number: int
    began: float
    max_bytes: int | None
    writable: bool = False
    kept: KeptFile | None = None
    full: bool = False
    read: Flow = field(default_factory=Flow)
    written: Flow = field(default_factory=Flow)
