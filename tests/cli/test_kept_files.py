"""A file is left behind only where it is what went."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from taskgate.api.shapes import EventShown, KeptFileShown
from taskgate.cli.client import Client
from taskgate.cli.exits import Exit, Stop
from taskgate.cli.kept_files import _get
from taskgate.recording.content import content_facts


class Answers:
    """A gateway that has these pieces of file 3."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def stream(self, path: str, **_query: object) -> Iterator[str]:
        assert path == "/v1/recordings/s-1/files/3"
        at = 0
        for piece in self._pieces:
            facts = {"request": 3, "way": "read", "offset": at, "bytes": len(piece)}
            event = EventShown(
                sequence=1, kind="file.content", at=0.0, facts=facts | content_facts(piece)
            )
            yield event.model_dump_json()
            at += len(piece)


def get(file: Path, *pieces: bytes) -> None:
    whole = b"one and two"
    one = KeptFileShown(
        request=3, path="/f", way="read", bytes=len(whole), first=0, over=True,
        sha256=hashlib.sha256(whole).hexdigest(),
    )  # fmt: skip
    _get(cast("Client", Answers(*pieces)), "s-1", one, file)


def test_what_went_is_left(tmp_path: Path) -> None:
    get(tmp_path / "f", b"one ", b"and two")
    assert (tmp_path / "f").read_bytes() == b"one and two"


@pytest.mark.parametrize(
    ("pieces", "code", "said"),
    [
        ((b"one ", b"and six"), Exit.TAMPERED, "its SHA-256 is another than the recorded one"),
        ((b"one ",), Exit.UNREACHABLE, "broke off: 4 of 11 bytes came"),
        ((), Exit.UNREACHABLE, "broke off"),
    ],
)
def test_what_did_not_is_not(
    tmp_path: Path, pieces: tuple[bytes, ...], code: Exit, said: str
) -> None:
    with pytest.raises(Stop, match=said) as stopped:
        get(tmp_path / "f", *pieces)
    assert stopped.value.code is code
    assert not (tmp_path / "f").exists()
