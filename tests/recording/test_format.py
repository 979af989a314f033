"""The bytes of a line, and what is not one."""

import hashlib
import json

import pytest

from taskgate.model import limits
from taskgate.model.errors import Unreadable
from taskgate.recording.format import (
    Head,
    Trailer,
    encode_trailer,
    genesis,
    join_line,
    link,
    parse_line,
    parse_trailer,
    split_line,
    valid_name,
)

BODY = b'{"n":1,"at":1.5,"kind":"login","facts":{"identity":"local:ann"}}'
START = genesis("gate", "s1")
HASH = link(START, BODY)


def test_a_line_is_json_that_ends_in_its_hash() -> None:
    line = join_line(BODY, HASH)
    assert line.endswith(b'"}\n')
    assert json.loads(line) == json.loads(BODY) | {"h": HASH.hex()}
    assert split_line(line[:-1]) == (BODY, HASH)
    entry = parse_line(line[:-1])
    assert (entry.number, entry.at, entry.kind) == (1, 1.5, "login")
    assert entry.facts == {"identity": "local:ann"}


def test_the_chain_needs_nothing_but_sha256() -> None:
    start = hashlib.sha256(b"taskgate recording v1\ngate\ns1\n").digest()
    assert hashlib.sha256(start + BODY).digest() == HASH


def test_the_first_link_binds_recording_and_gateway() -> None:
    starts = {genesis("gate", "s1"), genesis("gate", "s2"), genesis("other", "s1")}
    assert len(starts) == 3


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        BODY,
        join_line(BODY, HASH),
        join_line(BODY, HASH)[:-2],
        join_line(BODY, HASH)[:-1].replace(HASH.hex().encode(), HASH.hex().upper().encode()),
        join_line(BODY, HASH)[:-1].replace(b',"h":"', b',"H":"'),
        join_line(b"[]", HASH)[:-1],
        join_line(b'{"n":"1","at":1.5,"kind":"login","facts":{}}', HASH)[:-1],
        join_line(b'{"n":1,"at":1.5,"kind":"login"}', HASH)[:-1],
        join_line(b'{"n":1,"at":1.5,"kind":"\xff","facts":{}}', HASH)[:-1],
        join_line(b'{"n":1,"at":1.5,"kind":"x","facts":{"t":"%b"}}' % (b"x" * 2**20), HASH)[:-1],
    ],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    assert len(line) < 3 * limits.MAX_EVENT_BYTES
    with pytest.raises(Unreadable):
        parse_line(line)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a.b", "/heads", "-a", "a\n", "ä", "a" * 101]
)
def test_a_recordings_name_is_no_path(name: str) -> None:
    assert not valid_name(name)


def test_a_trailer_is_read_only_as_it_is_written() -> None:
    line = encode_trailer(Trailer(Head("s1", "gate", 3, "ab", 1.0, 2.0), "key", "sig"))[:-1]
    assert parse_trailer(line).head.count == 3
    for changed in (line + b" ", line.replace(b":3,", b": 3,"), line[:-1] + b',"x":1}', b"{}"):
        with pytest.raises(Unreadable):
            parse_trailer(changed)
