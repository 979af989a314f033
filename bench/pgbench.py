"""Runs pgbench -S and reads its figures."""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_PROGRESS = re.compile(r"progress: ([\d.]+) s, ([\d.]+) tps")


@dataclass(frozen=True, slots=True)
class Load:
    """What one run asks for. `mode` is pgbench's -M: simple, extended or prepared."""

    mode: str
    clients: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run gave. Latencies in milliseconds, over a sample of the statements; `cpu_us` and
    `loop_us` for each statement, of what `cpu` told."""

    transactions: int
    tps: float
    p50_ms: float
    p99_ms: float
    cpu_us: float = 0.0
    loop_us: float = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """How to reach one way to the database."""

    port: int
    user: str
    database: str
    password: str = ""


def _command(program: Path, target: Target, load: Load) -> list[str]:
    return [
        str(program), "-n", "-S", "-M", load.mode, "-c", str(load.clients),
        "-j", "1" if load.clients == 1 else "2",
        "-h", "127.0.0.1", "-p", str(target.port), "-U", target.user,
    ]  # fmt: skip


def _environment(target: Target) -> dict[str, str]:
    return {
        **os.environ,
        "PGPASSWORD": target.password,
        "PGSSLMODE": "disable",
        "PGGSSENCMODE": "disable",
    }


def run_pgbench(
    program: Path, target: Target, load: Load, cpu: Callable[[], tuple[float, float]] | None = None
) -> Figures:
    """One measured run against the tables that `pgbench -i` made.

    `cpu` says what the process in the middle has used so far. It is asked when the first second is
    over and at the last report of progress: signing in, which comes before, is no part of it.

    Raises:
        RuntimeError: pgbench failed, or lost a client.
    """
    with tempfile.TemporaryDirectory() as directory:
        running = subprocess.Popen(
            [
                *_command(program, target, load), "-T", str(load.seconds), "-P", "1",
                "-l", "--log-prefix", f"{directory}/log", "--sampling-rate", "0.2",
                target.database,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=directory,
            env=_environment(target),
        )  # fmt: skip
        assert running.stderr is not None
        told: list[str] = []
        reports: list[tuple[float, float, tuple[float, float]]] = []
        for line in running.stderr:
            told.append(line)
            report = _PROGRESS.match(line)
            if report is not None:
                used = cpu() if cpu is not None else (0.0, 0.0)
                reports.append((float(report[1]), float(report[2]), used))
        out, _ = running.communicate()
        if running.returncode:
            raise RuntimeError(f"pgbench: {''.join(told)[-2000:]}")
        took_us = sorted(
            int(line.split()[2])
            for log in Path(directory).glob("log.*")
            for line in log.read_text().splitlines()
        )
    count = re.search(r"transactions actually processed: (\d+)", out)
    rate = re.search(r"tps = ([\d.]+) \(without initial connection time\)", out)
    if count is None or rate is None:
        raise RuntimeError(f"pgbench said nothing to go by: {out}")
    if not took_us or len(reports) < 2:
        # pgbench counts signing in as part of the time that it was given.
        raise RuntimeError("pgbench had no two seconds for statements: signing in took the rest")
    return Figures(
        int(count.group(1)), float(rate.group(1)), _part(took_us, 0.5), _part(took_us, 0.99),
        *_each(reports),
    )  # fmt: skip


def _each(reports: list[tuple[float, float, tuple[float, float]]]) -> tuple[float, float]:
    """CPU microseconds a statement, between the first and the last report of progress."""
    done = sum(rate * (at - before[0]) for before, (at, rate, _) in pairwise(reports))
    first, last = reports[0][2], reports[-1][2]
    return (last[0] - first[0]) / done * 1e6, (last[1] - first[1]) / done * 1e6


def _part(sorted_us: list[int], share: float) -> float:
    return sorted_us[min(len(sorted_us) - 1, int(len(sorted_us) * share))] / 1000
