"""How this process uses memory: thousands of silent sessions beside bulk transfers.

Source: madvise(2), and Python's `gc`.
"""

import asyncio
import ctypes
import gc
import mmap
from contextlib import suppress
from typing import Any, Final

# Container objects made, net, before Python looks for cycles among the newest. The path of a
# statement makes no cycles; at the default of 700 they would be looked for all the time.
_GC_THRESHOLDS: Final = (5_000, 10, 10)


def settle() -> None:
    """To be called once, when the gateway is about to serve: what is there stays until the end, so
    that the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def release_read_buffer(encrypted: asyncio.Transport) -> None:
    """Gives the pages of a TLS connection's read buffer back; `encrypted` is the transport below
    its TLS. The buffer, of 256 KiB, stays and is empty between two reads: only then may this be
    called. Where there is no such buffer, or no madvise, nothing happens.
    """
    # Both loops' TLS protocols hand their one buffer out like this; data is copied out of it
    # within the call that says how much was read.
    get_buffer = getattr(encrypted.get_protocol(), "get_buffer", None)
    if get_buffer is None or _madvise is None:
        return
    with memoryview(get_buffer(1)) as buffer:
        if buffer.readonly or not buffer.nbytes:
            return
        start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (start + buffer.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > first:
            # Whole pages of private memory: they read as zeros from here on (madvise(2)).
            _madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), mmap.MADV_DONTNEED)


def _find_madvise() -> Any:
    with suppress(OSError, AttributeError):
        return ctypes.CDLL(None).madvise
    return None


_madvise = _find_madvise() if hasattr(mmap, "MADV_DONTNEED") else None
