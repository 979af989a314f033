"""Where the gate's time goes under SSH, by cProfile: shares, not speeds."""

import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.profile import table
from bench.ssh.ways import BULK, SshBench, everything


def under_load(bulk_bytes: int, logins: int) -> str:
    """A gate while a large file comes down, and while one login follows another."""

    def down(bench: SshBench) -> None:
        _run(bench, "scp", "-q", f"gate:{bench.host.home}/{BULK}", "/dev/null")

    def signing_in(bench: SshBench) -> None:
        for _ in range(logins):
            _run(bench, "ssh", "gate", "true")

    return "\n".join(
        (
            _section(f"scp of {bulk_bytes >> 20} MiB from the host", bulk_bytes, down),
            _section(f"{logins} times `ssh gate true`", 1 << 20, signing_in),
        )
    )


def _section(head: str, bulk_bytes: int, load: Callable[[SshBench], None]) -> str:
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "profile"
        with everything(bulk_bytes, ("-m", "bench.profiled", str(target))) as bench:
            # Warm first: what is measured is the load, not the start.
            _run(bench, "ssh", "gate", "true")
            bench.gate.signal(signal.SIGUSR2)
            load(bench)
        return f"== {head}, under cProfile\n{table(target)}\n"


def _run(bench: SshBench, program: str, *words: str) -> None:
    subprocess.run(
        bench.program(program, *words), stdin=subprocess.DEVNULL, check=True, capture_output=True,
        env=bench.environment,
    )  # fmt: skip
