"""Runs pgbench -S and reads its figures."""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Load:
    """What one run asks for. `mode` is pgbench's -M: simple, extended or prepared."""

    mode: str
    clients: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run gave. Latencies in milliseconds, over a sample of the statements."""

    transactions: int
    tps: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Target:
    """How to reach one way to the database."""

    port: int
    user: str
    database: str
    password: str = ""


def run_pgbench(program: Path, target: Target, load: Load) -> Figures:
    """One measured run against the tables that `pgbench -i` made.

    Raises:
        RuntimeError: pgbench failed, or lost a client.
    """
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [
                str(program), "-n", "-S", "-M", load.mode, "-c", str(load.clients),
                "-j", "1" if load.clients == 1 else "2", "-T", str(load.seconds),
                "-l", "--log-prefix", f"{directory}/log", "--sampling-rate", "0.2",
                "-h", "127.0.0.1", "-p", str(target.port), "-U", target.user, target.database,
            ],
            capture_output=True, text=True, check=False, cwd=directory,
            env={**os.environ, "PGPASSWORD": target.password, "PGSSLMODE": "disable",
                 "PGGSSENCMODE": "disable"},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"pgbench: {done.stderr[-2000:]}")
        took_us = sorted(
            int(line.split()[2])
            for log in Path(directory).glob("log.*")
            for line in log.read_text().splitlines()
        )
    count = re.search(r"transactions actually processed: (\d+)", done.stdout)
    rate = re.search(r"tps = ([\d.]+) \(without initial connection time\)", done.stdout)
    if count is None or rate is None or not took_us:
        raise RuntimeError(f"pgbench said nothing to go by: {done.stdout}")
    return Figures(
        int(count.group(1)), float(rate.group(1)), _part(took_us, 0.5), _part(took_us, 0.99)
    )


def _part(sorted_us: list[int], share: float) -> float:
    return sorted_us[min(len(sorted_us) - 1, int(len(sorted_us) * share))] / 1000
