"""Starts the gateway's CLI with a wall clock that a test can set, and with other limits.

For tests alone: the product has no switch for either. The environment's FAULTS is JSON:
`clock`, a file of eight bytes that hold the clock's offset in seconds (a little-endian double);
`limits`, new values for names of `taskgate.model.limits`.
"""

import json
import mmap
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path


def set_clock(path: Path) -> None:
    """From now on `time.time` is off by what the file says at that moment."""
    with path.open("rb") as file:
        offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    real = time.time
    time.time = lambda: real() + struct.unpack("<d", offset[:8])[0]


def set_limits(wanted: Mapping[str, float]) -> None:
    """Before anything else is imported, so that nobody has the old values."""
    from taskgate.model import limits

    for name, value in wanted.items():
        if not hasattr(limits, name):
            raise SystemExit(f"there is no limit {name}")
        setattr(limits, name, value)


def main() -> None:
    wanted = json.loads(os.environ.pop("FAULTS"))
    if "clock" in wanted:
        set_clock(Path(wanted["clock"]))
    set_limits(wanted["limits"])
    from taskgate.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
