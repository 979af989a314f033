"""How much a peer may send before it is read (RFC 4254, section 5.2)."""

from __future__ import annotations

from collections import deque
from typing import Any, SupportsIndex
from weakref import ref

from asyncssh.channel import SSHChannel


def hold_to_window(channel: SSHChannel[bytes]) -> None:
    """Grants the channel's peer more once all that came before was read. To be called when its
    session begins.

    asyncssh grants a whole window anew as soon as half of one is used up and something is read,
    though it still keeps the rest: for a reader that is slower than its peer it would keep all
    that there is to come.
    """
    this, deliver = ref(channel), type(channel)._deliver_data

    def deliver_in_window(data: bytes, datatype: int | None) -> None:
        found = this()
        if found is None:
            return
        if not found._recv_buf:
            deliver(found, data, datatype)
        elif found._session is not None:
            found._session.data_received(data, datatype)

    vars(channel).update(_recv_buf=_Unread(channel._recv_buf), _deliver_data=deliver_in_window)


class _Unread(deque[tuple[bytes, int | None]]):
    """As asyncssh takes from it: `pop(0)`. A list would move all the rest each time, and these may
    be millions of single bytes."""

    def pop(self, index: SupportsIndex = 0) -> Any:
        return self.popleft()
