"""Waiting for a file descriptor, whatever its number: select(2) takes none above 1023."""

import select


def is_readable(file: int, within_s: float) -> bool:
    """Whether there is something to read from `file`, or its end, within that time."""
    poll = select.poll()
    poll.register(file, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(within_s * 1000))
