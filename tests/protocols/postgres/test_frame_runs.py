"""Rows passed on in runs: counted, capped, whole unless they are too long to wait for."""

import tracemalloc
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.model import limits
from taskgate.model.errors import OverLimit, ProtocolViolation, TaskgateError
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.frames import COPIED_ROWS, ROWS, BackendFramer, tag_set
from tests.protocols.postgres.vectors import (
    BACKEND,
    CHUNKS,
    a_frame,
    drain_runs,
    in_chunks,
    vectors,
)


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
        row = a_frame("D", b"Z\0\0\0\5I" * 50_000)
        after = a_frame("C", b"SELECT 1\0")
        stream = row + after
        framer = BackendFramer()
        out: list[tuple[str, bytes]] = []
        rows = 0
        for at in range(0, len(stream), 65_536):
            framer.feed(stream[at : at + 65_536])
            if at + 65_536 < len(row):
                assert not at or framer.take() is None, "nothing can be said within a frame"
                rows += drain_runs(framer, ROWS, out)
                assert framer.mid_frame
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

    @pytest.mark.cap("MAX_ROW_BYTES")
    def test_a_row_that_is_taken_whole_has_so_many_bytes(self) -> None:
        for take in (BackendFramer.take, lambda one: one.take_run(ROWS, stream=False)):
            framer = BackendFramer()
            framer.feed(pack(">BI", tags.DATA_ROW, limits.MAX_ROW_BYTES))
            assert not take(framer)
            framer = BackendFramer()
            framer.feed(pack(">BI", tags.DATA_ROW, limits.MAX_ROW_BYTES + 1))
            with pytest.raises(OverLimit):
                take(framer)

    @pytest.mark.cap("MAX_STREAMED_FRAME_BYTES")
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
