"""Figures to a page and a picture. Every number on them is from the one run."""

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench.measure import Bulk, Failure, Idle, Statements

_COLOURS = {
    "direct": "#9aa5b5",
    "relay": "#5b8def",
    "pgbouncer session": "#1a7f5a",
    "pgbouncer transaction": "#7fc8a9",
    "gate": "#b3561e",
    "gate, compiled": "#e0862f",
    "gate, masked": "#d98e5f",
    "gate, detected": "#ecc7ae",
}


# In the picture; the table has them all.
_SHOWN = ("relay", "pgbouncer session", "gate", "gate, compiled")


@dataclass(frozen=True, slots=True)
class Run:
    """One run's figures. `quick` marks one too short to quote."""

    statements: Sequence[Statements]
    bulk: Sequence[Bulk]
    idle: Sequence[Idle]
    failures: Sequence[Failure]
    server: str
    seconds_each: int
    quick: bool

    def one(self, way: str, mode: str, clients: int) -> Statements | None:
        return next(
            (s for s in self.statements if (s.way, s.mode, s.clients) == (way, mode, clients)), None
        )

    def big(self, way: str, what: str) -> Bulk | None:
        return next((b for b in self.bulk if (b.way, b.what) == (way, what)), None)


@dataclass(frozen=True, slots=True)
class Aim:
    """One aim of the design, and what the run reached."""

    what: str
    aim: str
    reached: str
    met: bool


def aims(run: Run) -> list[Aim]:
    """What issue and design aim at, as ratios within the run."""
    found = []
    for mode in ("simple", "prepared"):
        for clients in sorted({s.clients for s in run.statements}):
            bouncer = run.one("pgbouncer session", mode, clients)
            for way in ("gate", "gate, compiled"):
                gate = run.one(way, mode, clients)
                if gate and bouncer and gate.cpu_us and bouncer.cpu_us:
                    ratio = gate.cpu_us / bouncer.cpu_us
                    what = f"CPU a statement over pgbouncer's: {way}, {mode}, {_clients(clients)}"
                    found.append(Aim(what, "at most 1.5", f"{ratio:.2f}", ratio <= 1.5))
    for what in ("SELECT", "COPY"):
        gate_bulk, relay = run.big("gate", what), run.big("relay", what)
        if gate_bulk and relay:
            ratio = gate_bulk.mb_per_s / relay.mb_per_s
            found.append(Aim(f"Unmasked {what} over the bare relay's speed", "at least 0.7",
                             f"{ratio:.2f}", ratio >= 0.7))  # fmt: skip
    grown = [b.grew_mib for b in run.bulk if b.way.startswith("gate") and b.grew_mib is not None]
    if grown:
        found.append(Aim("Memory that a bulk answer adds to the gate", "constant",
                         f"{max(grown):.0f} MiB at most", max(grown) < 64))  # fmt: skip
    for one in run.idle:
        if one.way.startswith("gate"):
            kb = one.kib_each * 1.024
            what = f"Memory of an idle session, over {one.sessions:,}: {one.way}"
            found.append(Aim(what, "at most 60 KB", f"{kb:.0f} KB", kb <= 60))
    return found


def write(run: Run, folder: Path, limits: str) -> None:
    """`README.md`, `figures.json` and `cpu.svg` in `folder`. `limits` says what holds it back."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(
        json.dumps(
            {
                "statements": [asdict(s) for s in run.statements],
                "bulk": [asdict(b) for b in run.bulk],
                "idle": [asdict(i) for i in run.idle],
            },
            indent=1,
        )
        + "\n"
    )
    _plot(run, folder / "cpu.svg")
    (folder / "README.md").write_text("\n".join(_page(run, limits)) + "\n")


def _page(run: Run, limits: str) -> list[str]:
    lines = [
        "# How fast the gate is", "",
        "Written by `make bench`; every figure is from one run on one machine, so read the ratios.",
        *(["", "**A quick run: too short to quote.**"] if run.quick else []), "",
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"PostgreSQL {run.server}; {run.seconds_each} s for each figure; client, middle and "
        "database share the cores. The gate records everything (`durability: process`) under a "
        "task with column patterns, denies and masks. No TLS on any side.", "",
        "## Aims", "", "| | aim | reached | |", "|---|---|---|---|",
        *(f"| {a.what} | {a.aim} | {a.reached} | {'met' if a.met else '**missed**'} |"
          for a in aims(run)), "",
        *([limits, ""] if limits else []),
        *(["**Some runs failed and have no figures:**", "",
           *(f"- {f.way}, {f.what}: {f.why}" for f in run.failures), ""] if run.failures else []),
        "![CPU a statement](cpu.svg)", "",
        "## Statements: `pgbench -S`", "",
        "CPU is what the process in the middle takes for one statement, user and system; signing "
        "in comes before what is counted. It suffers little from what else the machine "
        "does. Statements/s and latencies are by the clock on the wall, and do. `loop` is the part "
        "of it that the event loop takes, on which a statement waits: the gate's index of its "
        "recordings is fed beside it, at a tenth of the time at most, so that its part of a "
        "statement is the larger the fewer statements there are.", "",
        "| way | mode | clients | statements/s | of direct | p50 ms | p99 ms | added p50 "
        "| added p99 | CPU µs | of pgbouncer | of relay | loop µs |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for s in run.statements:
        direct = run.one("direct", s.mode, s.clients)
        bouncer = run.one("pgbouncer session", s.mode, s.clients)
        ratio = f"{s.tps / direct.tps:.2f}" if direct else ""
        added, added_99 = "", ""
        if direct and direct is not s:
            added = f"{s.p50_ms - direct.p50_ms:.3f}"
            added_99 = f"{s.p99_ms - direct.p99_ms:.3f}"
        lines.append(
            f"| {s.way} | {s.mode} | {s.clients} | {s.tps:,.0f} | {ratio} | {s.p50_ms:.3f} "
            f"| {s.p99_ms:.3f} | {added} | {added_99} "
            f"| {'' if s.cpu_us is None else f'{s.cpu_us:.0f}'} | {_over(s, bouncer)} "
            f"| {_over(s, run.one('relay', s.mode, s.clients))} "
            f"| {'' if s.loop_us is None else f'{s.loop_us:.0f}'} |"
        )
    size = max((b.megabytes for b in run.bulk), default=0)
    lines += [
        "", f"## Bulk: {size / 1000:.1f} GB in one answer", "",
        "`masked` hides one column of three; `detected` looks for card and social security numbers "
        "in every value. MB/s is by the clock on the wall, CPU the middle's own. Memory is the "
        "peak over the idle process.", "",
        "| way | what | MB/s | of relay | CPU s/GB | memory MiB |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for b in run.bulk:
        relay = run.big("relay", b.what)
        ratio = f"{b.mb_per_s / relay.mb_per_s:.2f}" if relay else ""
        lines.append(
            f"| {b.way} | {b.what} | {b.mb_per_s:,.0f} | {ratio} "
            f"| {'' if b.cpu_s_per_gb is None else f'{b.cpu_s_per_gb:.2f}'} "
            f"| {'' if b.grew_mib is None else f'{b.grew_mib:.1f}'} |"
        )
    lines += [
        "",
        "## Idle sessions",
        "",
        "Resident memory of the process in the middle, over what it had before, for each "
        "session that has signed in and has said nothing for a few seconds.",
        "",
        "| way | sessions | KiB each |",
        "|---|---|---|",
    ]
    lines += [f"| {i.way} | {i.sessions:,} | {i.kib_each:.0f} |" for i in run.idle]
    lines += [
        "", "A profile of the gate under load: [profile.txt](profile.txt).", "",
        "SSH has a page of its own: [ssh.md](ssh.md).",
    ]  # fmt: skip
    return lines


def _over(one: Statements, other: Statements | None) -> str:
    if other is None or not other.cpu_us or not one.cpu_us:
        return ""
    return f"{one.cpu_us / other.cpu_us:.2f}"


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"


def _plot(run: Run, path: Path) -> None:
    """CPU a statement, simple and prepared, and the speed of bulk, side by side."""
    plt.rcParams["svg.hashsalt"] = "taskgate"
    plt.rcParams["font.size"] = 9
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), width_ratios=(3, 3, 2.2))
    clients = sorted({s.clients for s in run.statements})
    ways = [w for w in _SHOWN if any(s.way == w and s.cpu_us for s in run.statements)]
    width = 0.84 / max(len(ways), 1)
    most = max((s.cpu_us or 0.0 for s in run.statements), default=1.0)
    for axis, mode in zip(axes, ("simple", "prepared"), strict=False):
        for place, way in enumerate(ways):
            shown = [(i, s.cpu_us) for i, c in enumerate(clients)
                     if (s := run.one(way, mode, c)) is not None and s.cpu_us]  # fmt: skip
            offset = (place - (len(ways) - 1) / 2) * width
            bars = axis.bar([i + offset for i, _ in shown], [cpu for _, cpu in shown],
                            width * 0.94, color=_COLOURS[way], label=way)  # fmt: skip
            axis.bar_label(bars, fmt="%.0f", fontsize=7, color="#444444", padding=1)
        axis.set_xticks(range(len(clients)), [_clients(c) for c in clients])
        axis.set_title(f"CPU µs a statement, {mode}", fontsize=10, loc="left")
        axis.set_ylim(0, most * 1.12)
    _plot_bulk(run, axes[2])
    for axis in axes:
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(length=0)
        axis.set_axisbelow(True)
    for axis in axes[:2]:
        axis.grid(axis="y", color="#e4e7ec", linewidth=0.8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower left", ncols=max(len(labels), 1), frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1), w_pad=2)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _plot_bulk(run: Run, axis: Axes) -> None:
    shown = [b for b in run.bulk if b.what == "SELECT"]
    places = range(len(shown), 0, -1)
    bars = axis.barh(list(places), [b.mb_per_s for b in shown], 0.7,
                     color=[_COLOURS[b.way] for b in shown])  # fmt: skip
    axis.bar_label(bars, fmt="%.0f", fontsize=8, color="#444444", padding=2)
    axis.set_yticks(list(places), [b.way for b in shown])
    axis.set_xticks([])
    axis.spines["bottom"].set_visible(False)
    axis.set_title("One large answer, MB/s", fontsize=10, loc="left")
