"""`make bench`: measures every way in one run and writes docs/bench/."""

import argparse
import resource
import sys
from pathlib import Path

from bench import measure, profile, report
from bench.ssh.run import ssh
from bench.ways import ROOT, everything

FOLDER = ROOT / "docs" / "bench"


PARTS = ("statements", "bulk", "idle", "profile", "ssh")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes, not to be quoted")
    parser.add_argument("--out", default=str(FOLDER), type=Path, help="where to write")
    parser.add_argument("--compiled", type=Path, help="a taskgate with compiled modules")
    parser.add_argument("--only", choices=PARTS, help="one part of PostgreSQL's, or ssh")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    options.out.mkdir(parents=True, exist_ok=True)
    aims: list[report.Aim] = []
    failures: list[measure.Failure] = []
    if options.only != "ssh":
        aims += _postgres(options.only, options.out, options.compiled, options.quick, failures)
    if options.only in (None, "ssh"):
        aims += ssh(options.out, failures, quick=options.quick)
    for aim in aims:
        print(f"{'met   ' if aim.met else 'missed'}  {aim.what}: {aim.reached} ({aim.aim})")
    for failure in failures:
        print(f"failed  {failure.way}, {failure.what}: {failure.why}")
    return 1 if failures else 0


def _postgres(
    only: str | None,
    folder: Path,
    compiled: Path | None,
    quick: bool,
    failures: list[measure.Failure],
) -> list[report.Aim]:
    def wanted(part: str) -> bool:
        return only in (None, part)

    seconds = 4 if quick else 8
    bulk_rows = 100_000 if quick else 1_000_000
    with everything(1 if quick else 10, bulk_rows, compiled and compiled.resolve()) as bench:
        run = report.Run(
            statements=(
                measure.statements(bench, (1, 8, 64), seconds, failures)
                if wanted("statements")
                else ()
            ),
            bulk=measure.bulk(bench, failures) if wanted("bulk") else (),
            idle=measure.idle(bench, 200 if quick else 1000) if wanted("idle") else (),
            server=bench.version(),
            failures=tuple(failures),
            seconds_each=seconds,
            quick=quick,
        )
    if wanted("profile"):
        (folder / "profile.txt").write_text(profile.under_load(5 if quick else 15))
    limits = folder / "limits.md"
    report.write(run, folder, limits.read_text().strip() if limits.exists() else "")
    return report.aims(run)


if __name__ == "__main__":
    sys.exit(main())
