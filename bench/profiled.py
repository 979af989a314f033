"""The CLI with cProfile at hand: SIGUSR2 begins to measure, the end of the process writes it down.

python -m bench.profiled FILE serve --config ...
"""

import cProfile
import signal
import sys
from types import FrameType

from taskgate.cli.main import main

if __name__ == "__main__":
    # By the wall clock: on few cores a write that wakes its reader looks slower than it is.
    profile = cProfile.Profile()
    target = sys.argv.pop(1)

    def begin(_number: int, _frame: FrameType | None) -> None:
        profile.enable()

    signal.signal(signal.SIGUSR2, begin)
    try:
        main()
    finally:
        profile.disable()
        profile.dump_stats(target)
