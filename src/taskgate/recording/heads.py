"""The gateway-wide chain: which recordings were opened, and what each one amounts to.

A file of lines as in `recording.format`, with one more member: the body of every line ends in
`"sig"`, the Ed25519 signature over "taskgate heads v1" LF || hash of the line before (32 raw
bytes) || the body without that member. Kinds of entries, and their facts:

    begun      gateway                                      the first entry, and only that
    opened     recording, file           file: where it will lie once sealed
    sealed     recording, file, count, hash, opened_at, sealed_at
    marks      marks: [[recording, count, hash], ...]      what open recordings amount to so far
    recovered  recording, cut_bytes, damage                 found unsealed after a crash
    torn       cut_bytes, cut_lines, cut_sha256             this chain itself lost a torn end

When the file is full it is renamed to `heads-000001.tgr` and so on, and the chain goes on in a
new `heads.tgr`: numbers and hashes run through. Dropping the newest entries together with their
recordings cannot be seen from the files alone; compare with an *anchor* kept elsewhere: the
number and hash of an entry, which verification looks for.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from taskgate.model import limits
from taskgate.model.errors import BadConfig, NotRecorded, Unreadable
from taskgate.recording import layout
from taskgate.recording.files import FilePool, LogFile
from taskgate.recording.format import (
    Body,
    Entry,
    encode_json,
    genesis,
    join_line,
    link,
    parse_line,
)
from taskgate.recording.keys import signature_holds

BEGUN: Final = "begun"
OPENED: Final = "opened"
SEALED: Final = "sealed"
MARKS: Final = "marks"
RECOVERED: Final = "recovered"
TORN: Final = "torn"
_DOMAIN: Final = b"taskgate heads v1\n"
_SIG_MARK: Final = b',"sig":"'
# `,"sig":"` + 128 + `"}`
_SIG_MEMBER: Final = 138


@dataclass(frozen=True, slots=True)
class Anchor:
    """One entry of the chain, noted elsewhere: its number and its hash in hex."""

    number: int
    hash: str


def heads_genesis(gateway: str) -> bytes:
    # `/` cannot stand in a recording's id: no recording has this genesis.
    return genesis(gateway, "/heads")


def split_signature(body: bytes) -> tuple[bytes, str]:
    """A body of the chain -> the part that is signed, and the signature in hex ("" for none)."""
    mark = len(body) - _SIG_MEMBER
    if mark < 2 or body[mark : mark + len(_SIG_MARK)] != _SIG_MARK or body[-2:] != b'"}':
        return body, ""
    return body[:mark] + b"}", body[mark + len(_SIG_MARK) : -2].decode("ascii", "replace")


def entry_signed(key: Ed25519PublicKey, previous: bytes, entry: Entry) -> bool:
    """Whether this key signed the entry as the follower of `previous`."""
    unsigned, signature = split_signature(entry.body)
    return signature_holds(key, signature, _DOMAIN + previous + unsigned)


class HeadsChain:
    """Appends to the chain of one audit directory; made by `Journal`."""

    __slots__ = (
        "_directory",
        "_gateway",
        "_key",
        "_number",
        "_parts",
        "_pool",
        "_previous",
        "file",
    )

    def __init__(
        self,
        directory: Path,
        gateway: str,
        key: Ed25519PrivateKey,
        now: float,
        write: Callable[[int, bytes | bytearray], int] = os.write,
    ) -> None:
        """Goes on where the chain in the directory ends; a torn end is cut off, and noted.

        Raises:
            BadConfig: what is there was not signed by this key for this gateway.
            NotRecorded: it cannot be read or written.
        """
        self._directory = directory
        self._gateway = gateway
        self._key = key
        # A pool of its own: this file is never given up.
        self._pool = FilePool(1, write)
        self._number = 0
        self._previous = heads_genesis(gateway)
        self._parts = 0
        self.file = self._load(now)
        if self._number == 0:
            self.append(BEGUN, now, {"gateway": gateway})

    @property
    def anchor(self) -> Anchor:
        """The newest entry."""
        return Anchor(self._number, self._previous.hex())

    def append(self, kind: str, at: float, facts: dict[str, Any]) -> None:
        """Signs and writes one entry.

        Raises:
            NotRecorded: it cannot be written; the chain is as before.
        """
        if self.file.size >= limits.MAX_HEADS_FILE_BYTES:
            self._begin_next_file()
        unsigned = encode_json(Body(self._number + 1, at, kind, facts))
        signature = self._key.sign(_DOMAIN + self._previous + unsigned).hex()
        body = b'%b,"sig":"%b"}' % (unsigned[:-1], signature.encode())
        hash_ = link(self._previous, body)
        self.file.append(join_line(body, hash_))
        self._number += 1
        self._previous = hash_

    def close(self) -> None:
        self.file.close()

    def _begin_next_file(self) -> None:
        full = layout.heads_part(self._directory, self._parts + 1)
        current = self.file.path
        if full.exists():
            raise NotRecorded(f"{full.name} is in the way of the chain of heads")
        try:
            # It is gone already where an earlier attempt got no further than this.
            if current.exists():
                current.rename(full)
        except OSError as error:
            raise NotRecorded(f"{current.name} cannot be renamed: {error.strerror}") from error
        self.file.close()
        self.file = self._pool.create(current)
        self._parts += 1

    def _load(self, now: float) -> LogFile:
        paths = layout.heads_paths(self._directory)
        current = self._directory / layout.HEADS_FILE
        has_current = bool(paths) and paths[-1] == current
        self._parts = len(paths) - has_current
        torn = b""
        for position in range(len(paths) - 1, -1, -1):
            # The first line of a file follows the last one of the file before.
            content = paths[position].read_bytes()
            before = _last_hash(paths[position - 1]) if position else heads_genesis(self._gateway)
            kept = self._find_end(paths[position], content, before)
            if paths[position] == current:
                torn = content[kept:]
            if kept:
                break
        if not has_current:
            return self._pool.create(current)
        file = self._pool.reopen(current)
        if torn:
            file.size -= len(torn)
            file.take_back()
            self.file = file
            self.append(TORN, now, _torn_facts(torn))
        return file

    def _find_end(self, path: Path, content: bytes, before: bytes | None) -> int:
        """Goes to the last line that this key signed; answers how many bytes reach to its end,
        0 for a file without a whole line.

        Raises:
            BadConfig: there are lines, and none of them is this gateway's.
        """
        key = self._key.public_key()
        entries = [_parse_or_none(line) for line in content.split(b"\n")[:-1]]
        end = content.rfind(b"\n") + 1
        for position in range(len(entries) - 1, -1, -1):
            entry = entries[position]
            previous = entries[position - 1] if position else None
            follows = previous.hash if previous else (None if position else before)
            if entry and follows is not None and _follows(key, follows, entry):
                self._number, self._previous = entry.number, entry.hash
                return end
            end = content.rfind(b"\n", 0, end - 1) + 1
        if not entries:
            return 0
        raise BadConfig(
            "the chain of heads is not this gateway's, or is damaged",
            where=str(path),
            hint="run `taskgate audit verify`; to begin anew, move the audit directory aside",
        )


def _last_hash(path: Path) -> bytes | None:
    lines = path.read_bytes().split(b"\n")
    last = _parse_or_none(lines[-2]) if len(lines) >= 2 else None
    return last.hash if last else None


def _torn_facts(cut: bytes) -> dict[str, Any]:
    return {
        "cut_bytes": len(cut),
        "cut_lines": cut.count(b"\n"),
        "cut_sha256": hashlib.sha256(cut).hexdigest(),
    }


def _follows(key: Ed25519PublicKey, previous: bytes, entry: Entry) -> bool:
    return link(previous, entry.body) == entry.hash and entry_signed(key, previous, entry)


def _parse_or_none(line: bytes) -> Entry | None:
    try:
        return parse_line(line)
    except Unreadable:
        return None
