"""With TASKGATE_COMPILE=1 the hot modules are compiled by mypyc from the same source; without it
the package is plain Python. See docs/adr/0006-compiled-modules.md."""

import os
from pathlib import Path

from setuptools import setup

COMPILED = Path("scripts", "compiled-modules.txt")


def extensions() -> list:
    if os.environ.get("TASKGATE_COMPILE") != "1":
        return []
    from mypyc.build import mypycify  # noqa: PLC0415 - not there in a plain build

    lines = COMPILED.read_text().splitlines()
    modules = [line for line in lines if line and not line.startswith("#")]
    return mypycify(
        [str(Path("src", module)) for module in modules],
        opt_level=os.environ.get("TASKGATE_OPT_LEVEL", "2"),
        debug_level="0",
    )


setup(ext_modules=extensions())
