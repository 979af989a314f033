"""All of SSH's figures in one run."""

from pathlib import Path

from bench.measure import Failure
from bench.report import Aim
from bench.ssh import measure, profile, report
from bench.ssh.ways import everything, what_is_missing

_GIB = 1 << 30


def ssh(folder: Path, failures: list[Failure], *, quick: bool) -> list[Aim]:
    """Measures, and writes the page, the figures and the profiles. What cannot be measured here is
    a failure of its own."""
    missing = what_is_missing()
    if missing:
        failures.append(Failure("every way", "ssh", f"not installed: {missing}"))
        return []
    own: list[Failure] = []
    rounds = 1 if quick else 3
    with everything(_GIB // 8 if quick else _GIB) as bench:
        latencies = [
            *measure.logins(bench, 10 if quick else 50, own),
            *measure.keystrokes(bench, 300 if quick else 2000, own),
        ]
        done = report.SshRun(
            transfers=measure.transfers(bench, rounds, own),
            latencies=latencies,
            idle=measure.idle(bench, 30 if quick else 200),
            failures=own,
            rounds=rounds,
            quick=quick,
        )
    report.write(done, folder)
    profiles = profile.under_load(_GIB // 8 if quick else _GIB // 2, 10 if quick else 50)
    (folder / "ssh-profile.txt").write_text(profiles)
    failures += own
    return report.aims(done)
