"""A clock that tests step by hand."""

from taskgate.model.clock import Clock


class SteppedClock(Clock):
    """`pass_s` moves both clocks, as time does; `jump_s` only the wall's, as people do."""

    __slots__ = ("_mono", "_now")

    def __init__(self, now: float) -> None:
        self._now = now
        self._mono = 1_000.0
        super().__init__(lambda: self._now, lambda: self._mono)

    def pass_s(self, seconds: float) -> None:
        self._now += seconds
        self._mono += seconds

    def jump_s(self, seconds: float) -> None:
        self._now += seconds
