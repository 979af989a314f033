"""How much of one client is handled at once, and how much may wait for a verdict."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from taskgate.model import limits
from taskgate.protocols.gate import Gate
from taskgate.protocols.postgres.exchange import Exchange
from taskgate.protocols.postgres.judging import JudgedTexts
from taskgate.protocols.postgres.resolution import Catalogs

SYNC = b"S\x00\x00\x00\x04"
NOW = 1.0


class NoGate:
    """Nothing here comes as far as a verdict."""

    def policy_version(self) -> str:
        return "v1"


def exchange() -> Exchange:
    tag: Callable[[str], str] = str
    return Exchange(
        cast(Gate, cast(Any, NoGate())), JudgedTexts(), Catalogs(), b"k" * 32, "db", tag
    )


@pytest.mark.cap("MAX_FRAMES_PER_TURN")
def test_a_flood_is_handled_by_turns() -> None:
    one = exchange()
    one.client_data(SYNC * (limits.MAX_FRAMES_PER_TURN + 1), NOW)
    assert b"".join(one.take().to_upstream) == SYNC * limits.MAX_FRAMES_PER_TURN
    assert one.more
    one.client_more(NOW)
    assert b"".join(one.take().to_upstream) == SYNC
    assert not one.more


@pytest.mark.cap("MAX_PENDING_FRAMES")
def test_only_so_many_wait_for_a_verdict() -> None:
    one = exchange()
    query = b"SELECT * FROM a\0"
    one.client_data(b"Q" + (len(query) + 4).to_bytes(4, "big") + query, NOW)
    assert one.deciding
    for _ in range(limits.MAX_PENDING_FRAMES // limits.MAX_FRAMES_PER_TURN + 2):
        one.client_data(SYNC * limits.MAX_FRAMES_PER_TURN, NOW)
    assert one._requests.pending_bytes == limits.MAX_PENDING_FRAMES * len(SYNC)
    assert not one.more, "nothing more is taken in until the first one is decided"
