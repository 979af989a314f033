"""Framing: whole frames or an error, however the bytes are cut."""

import tracemalloc
from struct import pack
from time import thread_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.model import limits
from taskgate.model.errors import OverLimit, ProtocolViolation, TaskgateError
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.frames import (
    BACKEND_CAPS,
    FRONTEND_CAPS,
    ROWS,
    BackendFramer,
    FrontendFramer,
)
from tests.protocols.postgres.vectors import (
    BACKEND,
    CHUNKS,
    FRONTEND,
    a_frame,
    drain,
    in_chunks,
    vectors,
)


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
            start = thread_time()
            for at in range(0, len(data), 7):
                framer.feed(data[at : at + 7])
                framer.take()
            return thread_time() - start

        small = min(seconds(70_000) for _ in range(5))
        # Eight times the bytes; sixty-four times the work if it were quadratic.
        assert min(seconds(560_000) for _ in range(3)) < small * 30

    def test_small_pieces_take_no_more_memory_than_their_bytes(self) -> None:
        size = limits.MAX_STATEMENT_BYTES
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

    @pytest.mark.cap("MAX_PENDING_BYTES")
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

    @pytest.mark.cap("STREAM_ABOVE_BYTES")
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


@given(st.lists(st.sampled_from(vectors(FRONTEND)), max_size=12), CHUNKS)
def test_frontend_frames_come_out_as_they_went_in(frames: list[bytes], sizes: list[int]) -> None:
    framer = FrontendFramer()
    got: list[bytes] = []
    for chunk in in_chunks(b"".join(frames), sizes):
        framer.feed(chunk)
        got += drain(framer)
    assert got == frames
    assert framer.buffered == 0


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
