"""The measurements. Each gives plain figures; `bench.report` makes the words and the picture."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from bench.pgbench import Load, run_pgbench
from bench.sign_in import sign_in
from bench.ways import ROOT, Bench, Way


@dataclass(frozen=True, slots=True)
class Statements:
    """pgbench -S over one way. `cpu_us` is the middle's CPU for one statement, in microseconds;
    `loop_us` is that of its event loop alone."""

    way: str
    mode: str
    clients: int
    tps: float
    p50_ms: float
    p99_ms: float
    cpu_us: float | None
    loop_us: float | None


@dataclass(frozen=True, slots=True)
class Bulk:
    """One large answer over one way. Sizes in MB (10^6), memory in MiB over the idle process."""

    way: str
    what: str
    megabytes: float
    seconds: float
    mb_per_s: float
    cpu_s_per_gb: float | None
    grew_mib: float | None


@dataclass(frozen=True, slots=True)
class Idle:
    """Memory of idle sessions over one way, in KiB for each."""

    way: str
    sessions: int
    kib_each: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that gave no figures. It is reported, never left out."""

    way: str
    what: str
    why: str


def statements(
    bench: Bench, clients: tuple[int, ...], seconds: int, failures: list[Failure]
) -> list[Statements]:
    """Every way at every load; the ways take turns, so that a slow minute hits them all."""
    found = []
    for mode in ("simple", "prepared"):
        for count in clients:
            for way in bench.ways:
                if mode == "prepared" and not way.prepared:
                    continue
                try:
                    found.append(_statements(bench, way, Load(mode, count, seconds)))
                    _say(found[-1])
                except RuntimeError as error:
                    failures.append(Failure(way.name, f"{mode}, {count} clients", _why(error)))
                    _say(failures[-1])
    return found


def _why(error: Exception) -> str:
    told = [line for line in str(error).splitlines() if "ERROR" in line or "error" in line]
    return (told[0] if told else str(error)).strip()[:200]


def _statements(bench: Bench, way: Way, load: Load) -> Statements:
    middle = way.middle
    if middle is None:
        figures = run_pgbench(bench.pgbench, way.target, load)
        cpu_us = loop_us = None
    else:
        figures = run_pgbench(
            bench.pgbench, way.target, load, lambda: (middle.cpu_s(), middle.loop_cpu_s())
        )
        cpu_us, loop_us = figures.cpu_us, figures.loop_us
    return Statements(
        way.name, load.mode, load.clients, figures.tps, figures.p50_ms, figures.p99_ms,
        cpu_us, loop_us,
    )  # fmt: skip


def bulk(bench: Bench, failures: list[Failure]) -> list[Bulk]:
    """The table `bulk` as rows and as COPY."""
    ways = [
        *(way for way in bench.ways if way.name != "pgbouncer transaction"),
        bench.masked, bench.detected,
    ]  # fmt: skip
    found = []
    for what, sql in (
        ("SELECT", "SELECT * FROM public.bulk"),
        ("COPY", "COPY public.bulk TO STDOUT"),
    ):
        for way in ways:
            try:
                found.append(_bulk(way, what, sql))
                _say(found[-1])
            except RuntimeError as error:
                failures.append(Failure(way.name, what, _why(error)))
                _say(failures[-1])
    return found


def _bulk(way: Way, what: str, sql: str) -> Bulk:
    middle, target = way.middle, way.target
    before_cpu_s, before_kib = 0.0, 0
    if middle is not None:
        middle.forget_peak()
        before_cpu_s, before_kib = middle.cpu_s(), middle.rss_kib()
    done = subprocess.run(
        [
            sys.executable, "-m", "bench.drain", str(target.port), target.user, target.database,
            sql,
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PGPASSWORD": target.password},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{way.name}: {what}: {done.stderr[-1000:]}")
    count, took = done.stdout.split()
    megabytes, seconds = int(count) / 1e6, float(took)
    cpu_s_per_gb = grew_mib = None
    if middle is not None:
        cpu_s_per_gb = (middle.cpu_s() - before_cpu_s) / (megabytes / 1000)
        grew_mib = (middle.peak_rss_kib() - before_kib) / 1024
    return Bulk(way.name, what, megabytes, seconds, megabytes / seconds, cpu_s_per_gb, grew_mib)


_FIRST = 10
# So long they have said nothing.
_SILENT_S = 3


def idle(bench: Bench, sessions: int) -> list[Idle]:
    """What so many sessions cost that have signed in and say nothing."""
    found = []
    for way in (
        bench.way("relay"), bench.way("pgbouncer session"), bench.way("gate"), bench.encrypted,
    ):  # fmt: skip
        name = way.name
        if way.middle is None:
            continue
        # What only the first sessions of a kind cost is not counted on each of the others.
        for _ in range(_FIRST):
            sign_in(way.target, encrypted=way.encrypted).close()
        time.sleep(1)
        before = way.middle.rss_kib()
        held = []
        try:
            for _ in range(sessions):
                held.append(sign_in(way.target, encrypted=way.encrypted))
            time.sleep(_SILENT_S)
            after = way.middle.rss_kib()
        finally:
            for connection in held:
                connection.close()
        found.append(Idle(name, sessions, (after - before) / sessions))
        _say(found[-1])
        time.sleep(2)
    return found


def _say(figures: object) -> None:
    print(figures, flush=True)
