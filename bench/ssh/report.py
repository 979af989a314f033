"""Figures over SSH to a page. Every number on it is from the one run."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.measure import Failure
from bench.report import Aim
from bench.ssh.measure import SMALL_FILES, IdleSessions, Latency, Transfer


@dataclass(frozen=True, slots=True)
class SshRun:
    """One run's figures. `quick` marks one too short to quote."""

    transfers: Sequence[Transfer]
    latencies: Sequence[Latency]
    idle: Sequence[IdleSessions]
    failures: Sequence[Failure]
    rounds: int
    quick: bool

    def transfer(self, way: str, what: str) -> Transfer | None:
        return next((t for t in self.transfers if (t.way, t.what) == (way, what)), None)

    def latency(self, way: str, what: str) -> Latency | None:
        return next((one for one in self.latencies if (one.way, one.what) == (way, what)), None)


def aims(run: SshRun) -> list[Aim]:
    """What the design aims at, as ratios and differences within the run."""
    found = []
    for what in dict.fromkeys(t.what for t in run.transfers):
        gate, direct = run.transfer("gate", what), run.transfer("direct", what)
        if gate and direct:
            ratio = gate.mb_per_s / direct.mb_per_s
            found.append(Aim(f"{what}: speed over direct", "at least 0.6",
                             f"{ratio:.2f}", ratio >= 0.6))  # fmt: skip
    gate_key, direct_key = run.latency("gate", "keystroke"), run.latency("direct", "keystroke")
    if gate_key and direct_key:
        added = gate_key.p99_ms - direct_key.p99_ms
        found.append(Aim("A key's echo: what the gate adds at p99", "less than 2 ms",
                         f"{added:.2f} ms", added < 2))  # fmt: skip
    grown = [t.grew_mib for t in run.transfers if t.grew_mib is not None]
    if grown:
        found.append(Aim("Memory that a transfer adds to the gate", "constant",
                         f"{max(grown):.0f} MiB at most", max(grown) < 64))  # fmt: skip
    return found


def write(run: SshRun, folder: Path) -> None:
    """`ssh.md` and `ssh.json` in `folder`; what `ssh-limits.md` there says stands on the page."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "transfers": [asdict(t) for t in run.transfers],
        "latencies": [asdict(one) for one in run.latencies],
        "idle": [asdict(i) for i in run.idle],
    }
    (folder / "ssh.json").write_text(json.dumps(figures, indent=1) + "\n")
    limits = folder / "ssh-limits.md"
    text = limits.read_text().strip() if limits.exists() else ""
    (folder / "ssh.md").write_text("\n".join(_page(run, text)) + "\n")


def _page(run: SshRun, limits: str) -> list[str]:
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
    lines = [
        "# How fast SSH through the gate is", "",
        "Written by `make bench` (`make bench ONLY=ssh` for this page alone); every figure is from "
        "one run on one machine, so read the ratios.",
        *(["", "**A quick run: too short to quote.**"] if run.quick else []), "",
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{version.split(',')[0]} as client, host and jump host, all on this machine. The ways "
        f"take turns; a transfer's figure is the median of {run.rounds}. curve25519-sha256 and "
        "aes128-gcm on every way. The gate records everything (`durability: process`).", "",
        "## Aims", "", "| | aim | reached | |", "|---|---|---|---|",
        *(f"| {a.what} | {a.aim} | {a.reached} | {'met' if a.met else '**missed**'} |"
          for a in aims(run)), "",
        *([limits, ""] if limits else []),
        *(["**Some runs failed and have no figures:**", "",
           *(f"- {f.way}, {f.what}: {f.why}" for f in run.failures), ""] if run.failures else []),
        "## Transfers", "",
        "From the start of the program to its end, signing in included. The large file comes down "
        "by scp and goes up by sftp (to /dev/null: no disk is measured); both speak SFTP, so the "
        f"gate judges the path and hashes what goes. rsync brings {SMALL_FILES:,} files to an "
        "empty folder: to the gate it is one command, permitted by its words, whose bytes pass "
        "unread. "
        "CPU and memory are the gate's own. A jump host passes what it gets on as it is; the gate "
        "decrypts, reads, and encrypts anew.", "",
        "| way | what | MB | s | MB/s | of direct | of jump host | CPU s/GB | memory MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for t in run.transfers:
        per_gb = "" if t.cpu_s is None else f"{t.cpu_s / (t.megabytes / 1000):.2f}"
        lines.append(
            f"| {t.way} | {t.what} | {t.megabytes:,.0f} | {t.seconds:.2f} | {t.mb_per_s:,.0f} "
            f"| {_over(t, run.transfer('direct', t.what))} "
            f"| {_over(t, run.transfer('jump host', t.what))} | {per_gb} "
            f"| {'' if t.grew_mib is None else f'{t.grew_mib:.1f}'} |"
        )
    lines += [
        "", "## Latency", "",
        "`login` is `ssh HOST true` from start to end; through a jump host that is two key "
        "exchanges and two sign-ins one after the other, through the gate one of each by the "
        "client (with a grant's token) and one by the gate. `keystroke` is from a key's leaving to "
        "its echo by a terminal at the host, one key after the other, the ways in turn; added is "
        "over direct at the same percentile.", "",
        "| way | what | times | p50 ms | p99 ms | added p50 | added p99 |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in run.latencies:
        direct = run.latency("direct", one.what)
        added = added_99 = ""
        if direct is not None and direct is not one:
            added = f"{one.p50_ms - direct.p50_ms:.2f}"
            added_99 = f"{one.p99_ms - direct.p99_ms:.2f}"
        lines.append(
            f"| {one.way} | {one.what} | {one.count:,} | {one.p50_ms:.2f} | {one.p99_ms:.2f} "
            f"| {added} | {added_99} |"
        )
    lines += [
        "", "## Idle sessions", "",
        "What each session costs the middle that has signed in, runs a command at the host, and "
        "has said nothing for a few seconds: proportional set size, so that what sshd's processes "
        "share counts once. The gate holds two connections for each, the client's and its own.", "",
        "| way | sessions | KiB each |", "|---|---|---|",
        *(f"| {i.way} | {i.sessions:,} | {i.kib_each:.0f} |" for i in run.idle), "",
        "Profiles of the gate, while a large file comes down and while one login follows another: "
        "[ssh-profile.txt](ssh-profile.txt).",
    ]  # fmt: skip
    return lines


def _over(one: Transfer, other: Transfer | None) -> str:
    return "" if other is None else f"{one.mb_per_s / other.mb_per_s:.2f}"
