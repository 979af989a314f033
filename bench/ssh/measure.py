"""The measurements over SSH. Each gives plain figures; `bench.ssh.report` makes words of them.

The ways take turns within every round, so that a slow minute hits them all; a figure is the median
of its rounds.
"""

import os
import select
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Failure
from bench.ssh.ways import BULK, SshBench, SshWay

SMALL_FILES = 10_000
_PATIENCE_S = 120.0
# They hold their sessions open and say nothing.
_SILENT_S = 3.0
_FIRST = 5
_FIRST_KEYS = 100


@dataclass(frozen=True, slots=True)
class Transfer:
    """One large copy, or many small ones, over one way. Sizes in MB (10^6). CPU and memory (MiB
    over what it had before) are the gate's; a jump host's processes end with their connection, and
    their figures with them."""

    way: str
    what: str
    megabytes: float
    seconds: float
    cpu_s: float | None
    grew_mib: float | None

    @property
    def mb_per_s(self) -> float:
        return self.megabytes / self.seconds


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something took over one way, in ms, over `count` times."""

    way: str
    what: str
    count: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class IdleSessions:
    """Memory of sessions that wait for their command and say nothing: proportional set size (so
    that what processes share counts once), in KiB for each."""

    way: str
    sessions: int
    kib_each: float


def transfers(bench: SshBench, rounds: int, failures: list[Failure]) -> list[Transfer]:
    """A large file down by scp and up by sftp; many small ones up by rsync."""
    large = (bench.host.home / BULK).stat().st_size
    ours = bench.root / BULK
    os.link(bench.host.home / BULK, ours)
    small, small_bytes = _small_files(bench.root / "small")

    def down(way: SshWay) -> list[str]:
        return bench.program("scp", "-q", f"{way.host}:{bench.host.home}/{BULK}", "/dev/null")

    def up(way: SshWay) -> list[str]:
        batch = bench.root / "batch"
        batch.write_text(f"put {ours} /dev/null\n")
        # A batch otherwise means that nobody is asked for a password.
        return bench.program("sftp", "-q", "-oBatchMode=no", "-b", str(batch), way.host)

    def many(way: SshWay) -> list[str]:
        shutil.rmtree(bench.host.home / "copy", ignore_errors=True)
        over = " ".join(bench.program("ssh"))
        return ["rsync", "-a", "-e", over, f"{small}/", f"{way.host}:{bench.host.home}/copy/"]

    kinds: tuple[tuple[str, int, Callable[[SshWay], list[str]]], ...] = (
        ("scp, down", large, down),
        ("sftp, up", large, up),
        (f"rsync, {SMALL_FILES:,} files", small_bytes, many),
    )
    found = []
    for what, size, command in kinds:
        taken: dict[str, list[Transfer]] = {way.name: [] for way in bench.ways}
        for _ in range(rounds):
            for way in bench.ways:
                try:
                    taken[way.name].append(_transfer(bench, way, what, size, command(way)))
                except RuntimeError as error:
                    failures.append(Failure(way.name, what, str(error)))
        for some in taken.values():
            if some:
                found.append(sorted(some, key=lambda one: one.seconds)[len(some) // 2])
                _say(found[-1])
    return found


def _small_files(folder: Path) -> tuple[Path, int]:
    """As a checkout has them: some folders, most files small."""
    size = 0
    for number in range(SMALL_FILES):
        path = folder / f"{number % 100:02}" / f"{number}.txt"
        if number < 100:
            path.parent.mkdir(parents=True)
        text = f"line {number} of a small file\n" * (10 + number % 90)
        path.write_text(text)
        size += len(text)
    return folder, size


def _transfer(
    bench: SshBench, way: SshWay, what: str, size: int, command: Sequence[str]
) -> Transfer:
    gate = way.middle if way.name == "gate" else None
    before_cpu_s, before_kib = 0.0, 0
    if gate is not None:
        gate.forget_peak()
        before_cpu_s, before_kib = gate.cpu_s(), gate.rss_kib()
    started = time.perf_counter()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env=bench.environment, timeout=600,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    if what.startswith("rsync"):
        arrived = sum(1 for _ in (bench.host.home / "copy").glob("*/*"))
        if arrived != SMALL_FILES:
            raise RuntimeError(f"{arrived} files arrived")
    cpu_s = grew_mib = None
    if gate is not None:
        cpu_s = gate.cpu_s() - before_cpu_s
        grew_mib = (gate.peak_rss_kib() - before_kib) / 1024
    return Transfer(way.name, what, size / 1e6, seconds, cpu_s, grew_mib)


def logins(bench: SshBench, count: int, failures: list[Failure]) -> list[Latency]:
    """From the start of `ssh HOST true` to its end."""
    taken: dict[str, list[float]] = {way.name: [] for way in bench.ways}
    for _ in range(count):
        for way in bench.ways:
            started = time.perf_counter()
            done = subprocess.run(
                bench.program("ssh", way.host, "true"), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, check=False, env=bench.environment,
            )  # fmt: skip
            if done.returncode == 0:
                taken[way.name].append((time.perf_counter() - started) * 1000)
            else:
                failures.append(Failure(way.name, "login", done.stderr.strip()[-300:]))
    return [_latency(name, "login", some) for name, some in taken.items() if some]


def keystrokes(bench: SshBench, count: int, failures: list[Failure]) -> list[Latency]:
    """From a key to its echo by a terminal at the host, one key after the other. The ways take
    turns key by key; the first hundred of each are not counted."""
    open_: dict[str, subprocess.Popen[bytes]] = {}
    taken: dict[str, list[float]] = {way.name: [] for way in bench.ways}
    try:
        for way in bench.ways:
            running = subprocess.Popen(
                bench.program("ssh", "-tt", way.host, "cat"), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, env=bench.environment,
            )  # fmt: skip
            try:
                _echo(running, b"x")
                open_[way.name] = running
            except RuntimeError as error:
                failures.append(Failure(way.name, "keystroke", str(error)))
                running.kill()
                running.communicate()
        for number in range(-_FIRST_KEYS, count):
            for name, running in open_.items():
                # A line now and then: a terminal takes no more than some thousand keys in one.
                key = b"\r" if number % 60 == 59 else b"a"
                took_ms = _echo(running, key) * 1000
                if key == b"a" and number >= 0:
                    taken[name].append(took_ms)
    except RuntimeError as error:
        failures.append(Failure("", "keystroke", str(error)))
    finally:
        for running in open_.values():
            running.kill()
            running.communicate()
    return [_latency(name, "keystroke", some) for name, some in taken.items() if some]


def _echo(running: "subprocess.Popen[bytes]", key: bytes) -> float:
    """Seconds until something comes back. Whatever else comes with it is read too."""
    assert running.stdin is not None
    assert running.stdout is not None
    started = time.perf_counter()
    running.stdin.write(key)
    ready, _, _ = select.select([running.stdout], [], [], _PATIENCE_S)
    took_s = time.perf_counter() - started
    if not ready or not os.read(running.stdout.fileno(), 65536):
        raise RuntimeError("no echo came")
    if key == b"\r":
        time.sleep(0.02)  # cat repeats the line
        while select.select([running.stdout], [], [], 0)[0]:
            os.read(running.stdout.fileno(), 65536)
    return took_s


def idle(bench: SshBench, sessions: int) -> list[IdleSessions]:
    """What so many sessions cost the middle."""
    found = []
    for way in bench.ways:
        if way.middle is None:
            continue
        held = _held(bench, way, _FIRST)
        try:
            before = way.middle.pss_kib()
            held += _held(bench, way, sessions)
            time.sleep(_SILENT_S)
            after = way.middle.pss_kib()
        finally:
            for running in held:
                running.terminate()
            for running in held:
                running.wait(60)
        found.append(IdleSessions(way.name, sessions, (after - before) / sessions))
        _say(found[-1])
    return found


def _held(bench: SshBench, way: SshWay, count: int) -> "list[subprocess.Popen[bytes]]":
    """So many sessions, each with a command at the host that has begun."""
    held = []
    for at in range(0, count, 10):
        some = [
            subprocess.Popen(
                bench.program("ssh", way.host, "cat"), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, env=bench.environment, bufsize=0,
            )
            for _ in range(min(10, count - at))
        ]  # fmt: skip
        for running in some:
            _echo(running, b"there?\n")
        held += some
    return held


def _latency(way: str, what: str, ms: list[float]) -> Latency:
    cut = statistics.quantiles(ms, n=100, method="inclusive") if len(ms) > 1 else [ms[0]] * 99
    found = Latency(way, what, len(ms), statistics.median(ms), cut[98])
    _say(found)
    return found


def _say(figures: object) -> None:
    print(figures, flush=True)
