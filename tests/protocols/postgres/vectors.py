"""Every message as hex, and ways to feed a framer, for the tests of this folder."""

from struct import pack

from hypothesis import strategies as st

from taskgate.protocols.postgres.frames import BackendFramer, FrontendFramer


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
