"""The bytes of a recording: one JSON line an event, chained by SHA-256, and a signed trailer.

A recording is a file of lines, each ending in one LF (no line holds a raw LF; JSON escapes it)::

    {"n":1,"at":1767225600.0,"kind":"session.opened","facts":{...},"h":"<64 hex>"}
    {"n":2,"at":1767225601.5,"kind":"request.permitted","facts":{...},"h":"<64 hex>"}
    ...
    {"head":{...},"key":"<16 hex>","sig":"<128 hex>"}

- The *body* of a line is the line without its LF and without the member `"h"`, that is without
  the last 71 bytes but for the closing brace. Its bytes are hashed as they stand in the file;
  nothing is ever encoded anew.
- `h` of line n is SHA-256(h of line n-1, 32 raw bytes || body). Line 1 follows the *genesis*:
  SHA-256("taskgate recording v1" LF gateway id LF recording id LF). A line, moved to another
  place or to another recording, thus no longer fits.
- The *trailer* seals the recording. `head` is {"recording","gateway","count","hash","opened_at",
  "sealed_at"}: `count` lines, the last one's hash. `sig` is Ed25519 (RFC 8032) over
  "taskgate head v1" LF and the bytes of `head` as in the file; `key` names the key: the first
  8 bytes of SHA-256 over its 32 raw bytes.

A line is at most `limits.MAX_EVENT_BYTES`. A write that was cut short leaves a line without its
LF or its `h`: it is cut off again, and no line before it is touched. SHA-256 and Ed25519 are all
that is needed to verify a file; `jq` reads it.

This module has no I/O.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from taskgate.model import limits
from taskgate.model.errors import Unreadable

HASH_BYTES: Final = 32
# `,"h":"` + 64 + `"}`
_HASH_MEMBER: Final = 72
_MARK: Final = b',"h":"'
_LOWER_HEX: Final = re.compile(rb"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_TRAILER_START: Final = b'{"head":'
_HEAD_DOMAIN: Final = b"taskgate head v1\n"
# A line: its body, the hash member, the LF.
MAX_BODY_BYTES: Final = limits.MAX_EVENT_BYTES - _HASH_MEMBER - 1


class Body(msgspec.Struct):
    """What a line's body holds, in this order."""

    n: int
    at: float
    kind: str
    facts: dict[str, Any]


class Head(msgspec.Struct, frozen=True):
    """What a recording amounts to: `count` lines, and the hash of the last. Times in seconds
    since the epoch; `sealed_at` is 0 where it is not sealed."""

    recording: str
    gateway: str
    count: int
    hash: str
    opened_at: float
    sealed_at: float


class Trailer(msgspec.Struct, frozen=True):
    head: Head
    key: str
    sig: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line, read. `number` counts from 1; `at` is seconds since the epoch; `hash` the line's
    own, `body` the bytes that it covers together with the hash before."""

    number: int
    at: float
    kind: str
    facts: dict[str, Any]
    hash: bytes
    body: bytes


encode_json = msgspec.json.Encoder().encode
_decode_body = msgspec.json.Decoder(Body).decode
_decode_trailer = msgspec.json.Decoder(Trailer).decode


def valid_name(name: str) -> bool:
    """Whether a recording may have this id: it is a file's name, and part of the genesis."""
    return _NAME.fullmatch(name) is not None


def genesis(gateway: str, recording: str) -> bytes:
    """What the first line's hash follows: 32 bytes, bound to this recording of this gateway."""
    return hashlib.sha256(f"taskgate recording v1\n{gateway}\n{recording}\n".encode()).digest()


def link(previous: bytes, body: bytes) -> bytes:
    """The hash of the line with this body that follows `previous`: 32 bytes."""
    return hashlib.sha256(previous + body).digest()


def split_line(line: bytes) -> tuple[bytes, bytes]:
    """A line without its LF -> its body and its hash (32 bytes).

    Raises:
        Unreadable: it does not end in a hash member, or is over the cap.
    """
    mark = len(line) - _HASH_MEMBER
    digits = line[mark + 6 : -2]
    if (
        mark < 2
        or len(line) >= limits.MAX_EVENT_BYTES
        or line[mark : mark + 6] != _MARK
        or line[-2:] != b'"}'
        or _LOWER_HEX.fullmatch(digits) is None
    ):
        raise Unreadable("not a line of a recording")
    return line[:mark] + b"}", bytes.fromhex(digits.decode())


def join_line(body: bytes, hash_: bytes) -> bytes:
    """A body and its hash -> the line, with its LF."""
    return b'%b,"h":"%b"}\n' % (body[:-1], hash_.hex().encode())


def parse_line(line: bytes) -> Entry:
    """A line without its LF -> its entry. The hash is not checked against anything.

    Raises:
        Unreadable: not a line of a recording.
    """
    body, hash_ = split_line(line)
    try:
        read = _decode_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable("not a line of a recording") from error
    return Entry(read.n, read.at, read.kind, read.facts, hash_, body)


def is_trailer(line: bytes) -> bool:
    return line.startswith(_TRAILER_START)


def head_message(head: Head) -> bytes:
    """The bytes that the key signs."""
    return _HEAD_DOMAIN + encode_json(head)


def encode_trailer(trailer: Trailer) -> bytes:
    """The trailer's line, with its LF."""
    return encode_json(trailer) + b"\n"


def parse_trailer(line: bytes) -> Trailer:
    """A trailer's line without its LF. The signature is not checked.

    Raises:
        Unreadable: not a trailer, or not byte for byte as the gate writes it.
    """
    try:
        trailer = _decode_trailer(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable("not the trailer of a recording") from error
    if encode_json(trailer) != line:
        raise Unreadable("not the trailer of a recording as the gate writes it")
    return trailer
