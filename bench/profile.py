"""Where the gate's time goes under load, by cProfile: shares, not speeds."""

import io
import pstats
import re
import signal
import tempfile
from pathlib import Path

from bench.pgbench import Load, run_pgbench
from bench.ways import profiled

_PATHS = re.compile(r"\S*/(site-packages|lib/python3\.\d+|src)/")


def under_load(seconds: int) -> str:
    """The forty most expensive functions of a gate under `pgbench -S`, simple and prepared."""
    sections = []
    for mode in ("simple", "prepared"):
        with tempfile.TemporaryDirectory() as directory:
            target = Path(directory) / "profile"
            with profiled(target) as (pgbench, way, gate):
                # Warm first: what is measured is the path of statements, not the start.
                run_pgbench(pgbench, way.target, Load(mode, 8, 3))
                gate.signal(signal.SIGUSR2)
                figures = run_pgbench(pgbench, way.target, Load(mode, 8, seconds))
            text = table(target)
        head = f"pgbench -S -M {mode} -c 8: {figures.transactions:,} statements under cProfile"
        sections.append(f"== {head}\n{text}\n")
    return "\n".join(sections)


def table(profile: Path) -> str:
    """The forty most expensive functions of a profile, by the time spent in them alone."""
    out = io.StringIO()
    stats = pstats.Stats(str(profile), stream=out)
    stats.sort_stats("tottime").print_stats(40)
    # Only what the repository may know: no machine's paths.
    text = _PATHS.sub("", out.getvalue())
    return "\n".join(line.rstrip() for line in text.splitlines() if "/tmp/" not in line)
