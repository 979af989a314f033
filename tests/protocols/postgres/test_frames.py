"""Framing: whole frames or an error, however the bytes are cut."""

import tracemalloc
from struct import pack
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.model import limits
from taskgate.model.errors import OverLimit, ProtocolViolation, TaskgateError
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.frames import (
    BACKEND_CAPS,
    COPIED_ROWS,
    FRONTEND_CAPS,
    ROWS,
    BackendFramer,
    FrontendFramer,
    tag_set,
)


def a_frame(tag: int | str, body: bytes = b"") -> bytes:
    number = ord(tag) if isinstance(tag, str) else tag
    return pack(">BI", number, len(body) + 4) + body


# PostgreSQL documentation, "Message Formats"; bytes as psql 15 and its server exchange them.
FRONTEND = {
    "query": "51 0000000d 53454c454354203100",
    "parse": "50 00000010 73310053454c4543540000 00",
    "bind": "42 0000000c 00 00 0000 0000 0000",
    "describe statement": "44 00000008 53 733100",
    "execute": "45 00000009 00 00000000",
    "close portal": "43 00000006 50 00",
    "flush": "48 00000004",
    "sync": "53 00000004",
    "copy data": "64 00000007 310a32",
    "copy done": "63 00000004",
    "copy fail": "66 00000007 6e6f00",
    "function call": "46 0000000e 00000001 0000 0000 0000",
    "terminate": "58 00000004",
}
BACKEND = {
    "authentication ok": "52 00000008 00000000",
    "parameter status": "53 00000016 54696d655a6f6e6500 4575726f70652f55 00",
    "backend key": "4b 0000000c 00003039 deadbeef",
    "ready": "5a 00000005 49",
    "row description": "54 0000001a 0001 6e00 00000000 0000 00000017 0004 ffffffff 0000",
    "data row": "44 0000000b 0001 00000001 31",
    "command complete": "43 0000000d 53454c454354203100",
    "empty query": "49 00000004",
    "parse complete": "31 00000004",
    "bind complete": "32 00000004",
    "close complete": "33 00000004",
    "no data": "6e 00000004",
    "suspended": "73 00000004",
    "parameter description": "74 0000000a 0001 00000017",
    "error": "45 00000008 53450000",
    "notice": "4e 00000008 534e0000",
    "notification": "41 0000000c 00000001 6300 7000",
    "copy in": "47 00000009 00 0001 0000",
    "copy out": "48 00000009 00 0001 0000",
    "copy both": "57 00000007 00 0000",
    "copy data": "64 00000007 310a32",
    "copy done": "63 00000004",
    "function result": "56 00000008 ffffffff",
    "negotiate": "76 0000000c 00030000 00000000",
}


def vectors(table: dict[str, str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in table.values()]


def drain(framer: FrontendFramer | BackendFramer) -> list[bytes]:
    frames = []
    while (frame := framer.take()) is not None:
        frames.append(frame)
    return frames


def drain_runs(framer: BackendFramer, passing: bytes, out: list[tuple[str, bytes]]) -> int:
    """As a relay does it: runs and single frames in turn until both have nothing."""
    rows = 0
    while True:
        run = framer.take_run(passing)
        if run:
            rows += framer.run_rows
            out.append(("run", run))
            continue
        frame = framer.take()
        if frame is None:
            return rows
        out.append(("frame", frame))


@pytest.mark.parametrize(
    ("make", "table"), [(FrontendFramer, FRONTEND), (BackendFramer, BACKEND)], ids=["front", "back"]
)
class TestVectors:
    def test_the_tables_have_every_message(
        self, make: type[FrontendFramer | BackendFramer], table: dict[str, str]
    ) -> None:
        caps = FRONTEND_CAPS if make is FrontendFramer else BACKEND_CAPS
        assert {vector[0] for vector in vectors(table)} == set(caps)

    def test_whole(self, make: type[FrontendFramer | BackendFramer], table: dict[str, str]) -> None:
        for vector in vectors(table):
            framer = make()
            framer.feed(vector)
            assert framer.take() == vector
            assert framer.take() is None
            assert framer.buffered == 0

    def test_at_every_split(
        self, make: type[FrontendFramer | BackendFramer], table: dict[str, str]
    ) -> None:
        for vector in vectors(table):
            for cut in range(1, len(vector)):
                framer = make()
                framer.feed(vector[:cut])
                assert framer.take() is None, "nothing partial is handed out"
                framer.feed(vector[cut:])
                assert framer.take() == vector

    def test_with_a_tail(
        self, make: type[FrontendFramer | BackendFramer], table: dict[str, str]
    ) -> None:
        for vector in vectors(table):
            for tail in vectors(table):
                for cut in range(len(tail)):
                    framer = make()
                    framer.feed(vector + tail[:cut])
                    assert framer.take() == vector
                    assert framer.take() is None
                    framer.feed(tail[cut:])
                    assert framer.take() == tail

    def test_byte_by_byte(
        self, make: type[FrontendFramer | BackendFramer], table: dict[str, str]
    ) -> None:
        framer = make()
        got: list[bytes] = []
        for byte in b"".join(vectors(table)):
            framer.feed(bytes((byte,)))
            got += drain(framer)
        assert got == vectors(table)

    def test_every_unknown_type_is_refused(
        self, make: type[FrontendFramer | BackendFramer], table: dict[str, str]
    ) -> None:
        known = {vector[0] for vector in vectors(table)}
        for tag in range(256):
            if tag in known:
                continue
            framer = make()
            framer.feed(a_frame(tag))
            with pytest.raises(ProtocolViolation, match="unknown type"):
                framer.take()

    @pytest.mark.parametrize("length", [0, 1, 2, 3])
    def test_an_impossible_length_is_refused(
        self, make: type[FrontendFramer | BackendFramer], table: dict[str, str], length: int
    ) -> None:
        for vector in vectors(table):
            framer = make()
            framer.feed(pack(">BI", vector[0], length) + b"\0" * 8)
            with pytest.raises(ProtocolViolation, match="impossible length"):
                framer.take()

    def test_over_its_cap_by_the_header_alone(
        self, make: type[FrontendFramer | BackendFramer], table: dict[str, str]
    ) -> None:
        caps = FRONTEND_CAPS if make is FrontendFramer else BACKEND_CAPS
        for tag, cap in caps.items():
            framer = make()
            framer.feed(pack(">BI", tag, cap + 1))
            with pytest.raises(OverLimit):
                framer.take()
            framer = make()
            framer.feed(pack(">BI", tag, cap))
            assert framer.take() is None

    def test_once_lost_always_lost(
        self, make: type[FrontendFramer | BackendFramer], table: dict[str, str]
    ) -> None:
        framer = make()
        framer.feed(b"\xff\0\0\0\4" + vectors(table)[0])
        for _ in range(2):
            with pytest.raises(ProtocolViolation):
                framer.take()
        with pytest.raises(ProtocolViolation):
            framer.feed(vectors(table)[0])
        assert framer.buffered == 0

    def test_frames_before_a_wrong_one_are_handed_out(
        self, make: type[FrontendFramer | BackendFramer], table: dict[str, str]
    ) -> None:
        good = vectors(table)[0]
        framer = make()
        framer.feed(good + b"\xff\0\0\0\4")
        assert framer.take() == good
        with pytest.raises(ProtocolViolation):
            framer.take()

    def test_the_rest_is_given_over(
        self, make: type[FrontendFramer | BackendFramer], table: dict[str, str]
    ) -> None:
        first, second = vectors(table)[:2]
        framer = make()
        framer.feed(first + second[:3])
        framer.feed(second[3:4])
        framer.take()
        assert framer.rest() == second[:4]
        assert framer.buffered == 0


class TestCost:
    def test_one_whole_frame_is_not_copied(self) -> None:
        data = a_frame("Q", b"x" * 1000 + b"\0")
        framer = FrontendFramer()
        framer.feed(data)
        assert framer.take() is data

    def test_a_run_that_is_all_of_a_read_is_not_copied(self) -> None:
        data = a_frame("D", b"\0\0") * 10
        framer = BackendFramer()
        framer.feed(data)
        assert framer.take_run(ROWS) is data

    def test_linear_time_in_small_pieces(self) -> None:
        def seconds(size: int) -> float:
            data = a_frame("Q", b"x" * size)
            framer = FrontendFramer()
            start = perf_counter()
            for at in range(0, len(data), 7):
                framer.feed(data[at : at + 7])
                framer.take()
            return perf_counter() - start

        small = min(seconds(70_000) for _ in range(5))
        # Eight times the bytes; sixty-four times the work if it were quadratic.
        assert min(seconds(560_000) for _ in range(3)) < small * 30

    def test_small_pieces_take_no_more_memory_than_their_bytes(self) -> None:
        size = 2_000_000
        framer = FrontendFramer()
        framer.feed(pack(">BI", tags.QUERY, size))
        tracemalloc.start()
        try:
            for _ in range(size // 20):
                framer.feed(b"0123456789")
                framer.take()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3 * size

    def test_what_is_not_taken_is_bounded(self) -> None:
        framer = FrontendFramer()
        piece = a_frame("S") * 200_000
        most = limits.MAX_BIND_BYTES + limits.MAX_PENDING_BYTES
        for _ in range(most // len(piece)):
            framer.feed(piece)
        assert framer.buffered <= most
        with pytest.raises(OverLimit):
            framer.feed(piece)
        assert framer.buffered == 0


class TestCopyFromTheClient:
    def test_a_short_one_stays_as_it_is(self) -> None:
        data = a_frame("d", b"x" * (limits.STREAM_ABOVE_BYTES - 4))
        framer = FrontendFramer()
        framer.feed(data)
        assert drain(framer) == [data]

    @pytest.mark.parametrize("extra", [1, 4, 5, limits.STREAM_ABOVE_BYTES, 300_001])
    def test_a_long_one_becomes_several_whole_ones(self, extra: int) -> None:
        body = bytes(range(256)) * ((limits.STREAM_ABOVE_BYTES + extra) // 256 + 1)
        body = body[: limits.STREAM_ABOVE_BYTES + extra]
        stream = a_frame("d", body) + a_frame("c")
        framer = FrontendFramer()
        frames: list[bytes] = []
        for at in range(0, len(stream), 10_007):
            framer.feed(stream[at : at + 10_007])
            frames += drain(framer)
        *copied, done = frames
        assert done == a_frame("c")
        assert b"".join(frame[5:] for frame in copied) == body
        for frame in copied:
            assert frame == a_frame("d", frame[5:])
            assert len(frame) <= limits.STREAM_ABOVE_BYTES + 5

    def test_constant_memory(self) -> None:
        size = 64 * limits.MIB
        piece = b"x" * limits.STREAM_ABOVE_BYTES
        framer = FrontendFramer()
        framer.feed(pack(">BI", tags.COPY_DATA, size + 4))
        tracemalloc.start()
        try:
            seen = 0
            for _ in range(size // len(piece)):
                framer.feed(piece)
                while (frame := framer.take()) is not None:
                    seen += len(frame) - 5
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert seen == size
        assert peak < 8 * limits.STREAM_ABOVE_BYTES


class TestRuns:
    def test_counts_rows_and_stops_at_another_type(self) -> None:
        rows = a_frame("D", b"\0\1\xff\xff\xff\xff") * 3
        done = a_frame("C", b"SELECT 3\0")
        framer = BackendFramer()
        framer.feed(rows + done)
        assert framer.take_run(ROWS) == rows
        assert framer.run_rows == 3
        assert framer.take_run(ROWS) == b""
        assert framer.run_rows == 0
        assert framer.take() == done

    def test_other_types_pass_too_and_count_for_nothing(self) -> None:
        data = a_frame("2") + a_frame("D") * 2 + a_frame("C", b"x\0") + a_frame("Z", b"I")
        framer = BackendFramer()
        framer.feed(data)
        assert framer.take_run(tag_set(b"2DC")) == data[: -len(a_frame("Z", b"I"))]
        assert framer.run_rows == 2

    def test_copied_rows(self) -> None:
        data = a_frame("d", b"1\n") * 4
        framer = BackendFramer()
        framer.feed(data)
        assert framer.take_run(ROWS) == b""
        assert framer.take_run(COPIED_ROWS) == data
        assert framer.run_rows == 4

    def test_never_more_rows_than_asked(self) -> None:
        row = a_frame("D", b"\0\0")
        framer = BackendFramer()
        framer.feed(row * 10)
        assert framer.take_run(ROWS, max_rows=4) == row * 4
        assert framer.run_rows == 4
        assert framer.take_run(ROWS, max_rows=0) == b""
        assert framer.take_run(ROWS, max_rows=100) == row * 6

    def test_a_long_row_counts_against_the_rows_asked(self) -> None:
        row = a_frame("D", b"x" * 200_000)
        framer = BackendFramer()
        framer.feed(row[:1000])
        assert framer.take_run(ROWS, max_rows=0) == b""
        assert not framer.mid_frame
        assert framer.take_run(ROWS, max_rows=1) == row[:1000]

    def test_a_short_row_waits_until_it_is_whole(self) -> None:
        row = a_frame("D", b"x" * 1000)
        framer = BackendFramer()
        framer.feed(row + row[:500])
        assert framer.take_run(ROWS) == row
        assert framer.take_run(ROWS) == b""
        assert not framer.mid_frame
        framer.feed(row[500:])
        assert framer.take_run(ROWS) == row

    def test_a_long_row_is_passed_on_in_pieces(self) -> None:
        row = a_frame("D", b"x" * 300_000)
        after = a_frame("C", b"SELECT 1\0")
        stream = row + after
        framer = BackendFramer()
        out: list[tuple[str, bytes]] = []
        rows = 0
        for at in range(0, len(stream), 65_536):
            framer.feed(stream[at : at + 65_536])
            if at + 65_536 < len(row):
                rows += drain_runs(framer, ROWS, out)
                assert framer.mid_frame
                assert framer.take() is None, "nothing can be said within a frame"
            else:
                rows += drain_runs(framer, ROWS, out)
        assert not framer.mid_frame
        assert rows == 1
        assert b"".join(data for _, data in out) == stream
        assert out[-1] == ("frame", after)

    def test_what_is_to_be_read_is_never_in_pieces(self) -> None:
        row = a_frame("D", b"x" * 300_000)
        framer = BackendFramer()
        framer.feed(row[:200_000])
        assert framer.take_run(ROWS, stream=False) == b""
        assert framer.take() is None
        framer.feed(row[200_000:])
        assert framer.take_run(ROWS, stream=False) == row

    def test_the_cap_on_rows_that_are_read(self) -> None:
        header = pack(">BI", tags.DATA_ROW, 5_001)
        framer = BackendFramer(max_row_bytes=5_000)
        framer.feed(header)
        with pytest.raises(OverLimit):
            framer.take()
        framer = BackendFramer(max_row_bytes=5_000)
        framer.feed(header)
        with pytest.raises(OverLimit):
            framer.take_run(ROWS, stream=False)

    def test_a_row_of_a_gigabyte_passes_where_nothing_reads_it(self) -> None:
        framer = BackendFramer()
        framer.feed(pack(">BI", tags.DATA_ROW, limits.MAX_STREAMED_FRAME_BYTES))
        assert len(framer.take_run(ROWS)) == 5
        framer = BackendFramer()
        framer.feed(pack(">BI", tags.DATA_ROW, limits.MAX_STREAMED_FRAME_BYTES + 1))
        with pytest.raises(OverLimit):
            framer.take_run(ROWS)

    def test_constant_memory_for_a_row_of_64_mib(self) -> None:
        size = 64 * limits.MIB
        piece = b"x" * 65_536
        framer = BackendFramer()
        framer.feed(pack(">BI", tags.DATA_ROW, size + 4))
        tracemalloc.start()
        try:
            seen = len(framer.take_run(ROWS))
            for _ in range(size // len(piece)):
                framer.feed(piece)
                while run := framer.take_run(ROWS):
                    seen += len(run)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert seen == size + 5
        assert peak < 1 * limits.MIB

    def test_rows_before_a_wrong_frame_are_handed_out(self) -> None:
        row = a_frame("D", b"\0\0")
        framer = BackendFramer()
        framer.feed(row + pack(">BI", tags.DATA_ROW, 2) + b"xxxx")
        assert framer.take_run(ROWS) == row
        with pytest.raises(ProtocolViolation):
            framer.take_run(ROWS)


CHUNKS = st.lists(st.integers(1, 40), min_size=1, max_size=60)


def in_chunks(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks = []
    at = 0
    turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        chunks.append(data[at : at + size])
        at += size
        turn += 1
    return chunks


@given(st.lists(st.sampled_from(vectors(FRONTEND)), max_size=12), CHUNKS)
def test_frontend_frames_come_out_as_they_went_in(frames: list[bytes], sizes: list[int]) -> None:
    framer = FrontendFramer()
    got: list[bytes] = []
    for chunk in in_chunks(b"".join(frames), sizes):
        framer.feed(chunk)
        got += drain(framer)
    assert got == frames
    assert framer.buffered == 0


@given(
    st.lists(
        st.one_of(
            st.sampled_from(vectors(BACKEND)),
            st.binary(max_size=60).map(lambda body: a_frame("D", body)),
        ),
        max_size=20,
    ),
    CHUNKS,
    st.booleans(),
)
def test_runs_and_frames_together_lose_nothing(
    frames: list[bytes], sizes: list[int], drain_each_time: bool
) -> None:
    framer = BackendFramer()
    out: list[tuple[str, bytes]] = []
    rows = 0
    for chunk in in_chunks(b"".join(frames), sizes):
        framer.feed(chunk)
        if drain_each_time:
            rows += drain_runs(framer, ROWS, out)
    rows += drain_runs(framer, ROWS, out)
    assert b"".join(data for _, data in out) == b"".join(frames)
    assert rows == sum(frame[0] == tags.DATA_ROW for frame in frames)
    assert all(data[0] == tags.DATA_ROW for kind, data in out if kind == "run")
    assert all(data[0] != tags.DATA_ROW for kind, data in out if kind == "frame")


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(vectors(FRONTEND)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    CHUNKS,
)
def test_mutated_and_cut_it_is_a_frame_or_an_error(
    frames: list[bytes], flips: list[tuple[int, int]], sizes: list[int]
) -> None:
    stream = bytearray(b"".join(frames))
    for at, value in flips:
        stream[at % len(stream)] = value
    framer = FrontendFramer()
    got: list[bytes] = []
    try:
        for chunk in in_chunks(bytes(stream), sizes):
            framer.feed(chunk)
            got += drain(framer)
    except TaskgateError:
        assert framer.buffered == 0
    taken = b"".join(got)
    assert bytes(stream).startswith(taken)
    for frame in got:
        assert frame[0] in FRONTEND_CAPS
        assert int.from_bytes(frame[1:5]) == len(frame) - 1


@settings(max_examples=300)
@given(st.binary(max_size=400), CHUNKS)
def test_arbitrary_bytes_from_a_server(data: bytes, sizes: list[int]) -> None:
    framer = BackendFramer()
    out: list[tuple[str, bytes]] = []
    try:
        for chunk in in_chunks(data, sizes):
            framer.feed(chunk)
            drain_runs(framer, ROWS, out)
    except TaskgateError:
        pass
    assert data.startswith(b"".join(piece for _, piece in out))
