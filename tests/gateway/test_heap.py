"""Memory of silent sessions: the read buffers of their TLS connections."""

import asyncio
import mmap
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


def test_an_empty_buffer_s_pages_are_given_back_and_it_can_be_used_again() -> None:
    buffer = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    buffer.write(b"x" * SIZE)
    release(TlsProtocol(buffer))
    # A page that was given back reads as zeros (madvise(2), MADV_DONTNEED).
    assert buffer[:] == bytes(SIZE)
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
