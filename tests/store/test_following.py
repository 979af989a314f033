"""A store that is asked over an event loop, and is late to answer."""

import asyncio

import pytest

from taskgate.model import limits
from taskgate.model.errors import StoreUnavailable
from taskgate.model.token import Revocation
from taskgate.store.following import LoopRevocations
from tests.patience import PATIENCE_S


class Sequence:
    """Is asked by the thread of the test. The first question is answered once `answer` is set."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()
        self.told: list[str] = []

    async def revocations_after(self, sequence: int, limit: int) -> tuple[Revocation, ...]:
        self.told.append(f"asked {sequence}")
        if sequence == 1:
            try:
                await asyncio.wait_for(self.answer.wait(), PATIENCE_S)
            except asyncio.CancelledError:
                self.told.append("broken off")
                raise
        self.told.append(f"answered {sequence}")
        return (Revocation(sequence + 1, f"g-{sequence}", 0.0, "left"),)

    async def last_revocation(self) -> int:
        return 1

    async def close(self) -> None:
        self.told.append("closed")


def test_a_question_that_is_late_is_waited_for_and_its_answer_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "REVOCATION_BLIND_S", 0.1)
    sequence = Sequence()
    reader = LoopRevocations(sequence, sequence.close)
    assert reader.last() == 1
    reader.after(0, 10)
    sequence.told.clear()
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="did not answer"):
            reader.after(1, 10)
    assert sequence.told == ["asked 1"]
    sequence.answer.set()
    monkeypatch.undo()
    assert [one.grant_id for one in reader.after(2, 10)] == ["g-2"]
    assert sequence.told == ["asked 1", "answered 1", "asked 2", "answered 2"]
    reader.close()
    assert sequence.told[-1] == "closed"


def test_what_is_late_at_the_end_is_broken_off_before_the_store_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "REVOCATION_BLIND_S", 0.1)
    sequence = Sequence()
    reader = LoopRevocations(sequence, sequence.close)
    reader.after(0, 10)
    sequence.told.clear()
    with pytest.raises(StoreUnavailable):
        reader.after(1, 10)
    reader.close()
    assert sequence.told == ["asked 1", "broken off", "closed"]
