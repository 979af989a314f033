"""Files put together again from events, however they went."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.errors import OverLimit, Unreadable
from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_REBUILT_FILE_BYTES
from taskgate.recording.content import content_facts, content_of
from taskgate.recording.format import Entry
from taskgate.recording.kept_files import Put, Rebuilding, Spans, Way, list_files, of_file


def entry(kind: EventKind, **facts: Any) -> Entry:
    return Entry(1, 0.0, kind.value, {"request": 1, **facts}, b"", b"")


def content(offset: int, data: bytes, way: str = "written", **more: Any) -> Entry:
    facts = {"way": way, "offset": offset, "bytes": len(data), **content_facts(data), **more}
    return entry(EventKind.FILE_CONTENT, **facts)


def resized(size: int) -> Entry:
    return entry(EventKind.FILE_RESIZED, size=size)


def opened(**facts: Any) -> Entry:
    return entry(EventKind.FILE_OPENED, path="/f", ways=["written"], **facts)


def rebuilt(entries: Sequence[Entry], way: Way = "written") -> tuple[bytes, Rebuilding]:
    """The file, as the command writes it."""
    rebuilding, file = Rebuilding(way), bytearray()
    for one in entries:
        done = rebuilding.feed(one)
        if isinstance(done, Put):
            file.extend(bytes(max(0, done.offset - len(file))))
            file[done.offset : done.offset + len(done.data)] = done.data
        elif done is not None:
            file = file[: done.size].ljust(done.size, b"\0")
    assert len(file) == rebuilding.size
    return bytes(file), rebuilding


def test_pieces_in_any_order_and_over_each_other() -> None:
    file, about = rebuilt([content(3, b"def"), content(0, b"abc"), content(2, b"XY")])
    assert file == b"abXYef"
    assert about.missing() == []


def test_what_goes_the_other_way_is_left_aside() -> None:
    entries = [content(0, b"new"), content(0, b"older", "read"), resized(2)]
    assert rebuilt(entries)[0] == b"ne"
    assert rebuilt(entries, "read")[0] == b"older"


def test_what_did_not_pass_is_told() -> None:
    file, about = rebuilt([opened(), content(5, b"x"), content(8, b"y")])
    assert file == b"\0\0\0\0\0x\0\0y"
    assert about.missing() == [(0, 5), (6, 8)]
    # In a file that was empty such places are zero at the host too.
    assert rebuilt([opened(empty=True), content(5, b"x")])[1].missing() == []


def test_what_is_appended_goes_to_the_end_wherever_the_client_says() -> None:
    file, about = rebuilt([opened(append=True), content(4, b"ab"), content(0, b"cd")])
    assert file == b"\0\0\0\0abcd"
    assert about.missing() == [(0, 4)]
    assert rebuilt([opened(append=True), content(4, b"ab"), resized(1), content(9, b"z")])[0] == (
        b"\0z"
    )


def test_cut_and_made_longer() -> None:
    file, about = rebuilt([content(0, b"abcdef"), resized(2), resized(4), content(5, b"x")])
    assert file == b"ab\0\0\0x"
    assert about.shrunk


def test_what_the_host_did_not_take_is_told() -> None:
    failed = entry(EventKind.FILE_NOT_WRITTEN, offset=3, bytes=2, status=4)
    assert rebuilt([content(0, b"abcde"), failed])[1].failed == [(3, 2)]


@pytest.mark.parametrize(
    "bad",
    [
        content(0, b"abc", bytes=4),
        content(0, b"abc", text=None),
        content(0, b"\xff", base64="!"),
        content(0, b"abc", way="sideways"),
    ],
)
def test_an_event_that_is_none(bad: Entry) -> None:
    with pytest.raises(Unreadable):
        Rebuilding("written").feed(bad)


@pytest.mark.cap("MAX_REBUILT_FILE_BYTES")
@pytest.mark.parametrize(
    "bad", [content(MAX_REBUILT_FILE_BYTES, b"x"), resized(MAX_REBUILT_FILE_BYTES + 1)]
)
def test_a_file_of_holes_is_not_put_together(bad: Entry) -> None:
    with pytest.raises(OverLimit, match="not put together"):
        Rebuilding("written").feed(bad)
    Rebuilding("written").feed(content(MAX_REBUILT_FILE_BYTES - 1, b"x"))


_CHANGES = st.lists(
    st.one_of(
        st.builds(content, st.integers(0, 40), st.binary(min_size=1, max_size=12)),
        st.builds(resized, st.integers(0, 40)),
    ),
    max_size=20,
)


@given(_CHANGES)
def test_the_file_is_what_a_host_would_have(changes: list[Entry]) -> None:
    file, known = bytearray(), set[int]()
    for one in changes:
        if one.kind == EventKind.FILE_RESIZED:
            size = one.facts["size"]
            file = file[:size].ljust(size, b"\0")
            known = {at for at in known if at < size}
        else:
            start, data = one.facts["offset"], content_of(one.facts)
            file.extend(bytes(max(0, start - len(file))))
            file[start : start + len(data)] = data
            known |= set(range(start, start + len(data)))
    found, about = rebuilt(changes)
    assert found == file
    missing = {at for start, end in about.missing() for at in range(start, end)}
    assert missing == set(range(len(file))) - known


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))))
def test_spans_lie_apart_and_in_order(pairs: list[tuple[int, int]]) -> None:
    spans = Spans()
    for pair in pairs:
        spans.add(*pair)
    edges = [edge for gap in spans.gaps(99) for edge in gap]
    assert edges == sorted(set(edges))


@given(st.binary(max_size=60))
def test_bytes_read_back_as_they_were(data: bytes) -> None:
    assert content_of(content_facts(data)) == data
    assert b"\0" not in content_facts(data).get("text", "").encode()


def test_the_list_tells_of_each_way_and_of_what_is_open() -> None:
    done = {"read": 3, "read_sha256": "aa", "read_from": 7, "written": 1, "written_sha256": "bb"}
    entries = [
        opened(),
        content(7, b"abc", "read"),
        content(0, b"x"),
        entry(EventKind.REQUEST_FINISHED, **done),
        entry(EventKind.FILE_OPENED, request=2, path="/g", ways=["read"]),
        entry(EventKind.FILE_OPENED, request=3, path="/h", ways=["written"]),
        entry(EventKind.REQUEST_FINISHED, request=3),
        entry(EventKind.REQUEST_FINISHED, request=4, written=5, written_sha256="cc"),
        # A host may answer the closing of a file before what was read of it.
        content(10, b"d", "read"),
    ]
    assert [
        (one.request, one.way, one.bytes, one.sha256, one.first, one.over)
        for one in list_files(entries)
    ] == [
        (1, "read", 4, "aa", 7, True),
        (1, "written", 1, "bb", 0, True),
        (2, "read", 0, "", 0, False),
        (3, "written", 0, "", 0, True),
    ]
    assert [one.facts["request"] for one in of_file(entries, 1)] == [1, 1, 1, 1, 1]
