"""How often one source may try something: token buckets, so many and no more."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from taskgate.model import limits


class Rates:
    """`per_min` tries a minute for each key, all of them at once if need be.

    At most `limits.MAX_RATE_ENTRIES` keys are remembered; the one unused longest is forgotten.
    """

    def __init__(self, per_min: int) -> None:
        self._most = float(per_min)
        self._per_s = per_min / 60.0
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str, now: float) -> float:
        """Takes one try. 0 if it may go on, else the seconds until the next one may."""
        left, at = self._left.pop(key, (self._most, now))
        left = min(self._most, left + max(0.0, now - at) * self._per_s)
        allowed = left >= 1.0
        self._left[key] = (left - 1.0 if allowed else left, now)
        while len(self._left) > limits.MAX_RATE_ENTRIES:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._per_s


def source_of(address: str) -> str:
    """One key for all that one caller can bring: an IPv4 address, or an IPv6 /64."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
    return str(ip)
