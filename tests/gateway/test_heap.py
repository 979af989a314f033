"""Memory of silent sessions: the read buffers of their TLS connections."""

import asyncio
import ctypes
import mmap
from pathlib import Path
from typing import cast

from taskgate.gateway.heap import release_read_buffer

SIZE = 256 * 1024


class TlsProtocol(asyncio.Protocol):
    """A loop's TLS protocol, as far as its buffer goes."""

    def __init__(self, buffer: bytearray | mmap.mmap | bytes) -> None:
        self.buffer = buffer

    def get_buffer(self, size_hint: int) -> memoryview:
        return memoryview(self.buffer)


class Below:
    """The transport under TLS."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol


def release(protocol: asyncio.BaseProtocol) -> None:
    release_read_buffer(cast(asyncio.Transport, Below(protocol)))


def resident_bytes(buffer: mmap.mmap) -> int:
    """How much of a mapping is in memory (proc(5), smaps)."""
    start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        span = line.split(" ", 1)[0].split("-")
        if len(span) == 2 and int(span[0], 16) <= start < int(span[1], 16):
            rss = next(one for one in lines if one.startswith("Rss:"))
            return int(rss.split()[1]) * 1024
    raise AssertionError("not mapped")


def test_an_empty_buffer_s_pages_are_given_back_and_it_can_be_used_again() -> None:
    # Beside other mappings it would share one entry: twice the size tells it apart.
    buffer = mmap.mmap(-1, 2 * SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    buffer.write(b"x" * 2 * SIZE)
    before = resident_bytes(buffer)
    release(TlsProtocol(buffer))
    assert before - resident_bytes(buffer) >= 2 * SIZE - 2 * mmap.PAGESIZE
    buffer.seek(0)
    buffer.write(b"again")
    assert buffer[:5] == b"again"


def test_what_lies_beside_the_buffer_keeps_its_bytes() -> None:
    whole = bytearray(b"x" * (4 * mmap.PAGESIZE))

    class Part(TlsProtocol):
        def get_buffer(self, size_hint: int) -> memoryview:
            return memoryview(self.buffer)[100 : -mmap.PAGESIZE - 50]

    release(Part(whole))
    assert whole[:100] == b"x" * 100
    assert whole[-mmap.PAGESIZE - 50 :] == b"x" * (mmap.PAGESIZE + 50)


def test_a_connection_without_such_a_buffer_is_left_alone() -> None:
    release(asyncio.Protocol())
    release(TlsProtocol(b"read only"))
    release(TlsProtocol(bytearray()))
