"""`make bench`: measures every way in one run and writes docs/bench/."""

import argparse
import resource
import sys
from pathlib import Path

from bench import measure, profile, report
from bench.ways import ROOT, everything

FOLDER = ROOT / "docs" / "bench"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes, not to be quoted")
    parser.add_argument("--out", default=str(FOLDER), help="where to write")
    parser.add_argument("--compiled", type=Path, help="a taskgate with compiled modules")
    parser.add_argument("--only", choices=("statements", "bulk", "idle", "profile"))
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    seconds = 4 if options.quick else 8
    clients = (1, 8, 64)
    bulk_rows = 100_000 if options.quick else 1_000_000
    idle = 200 if options.quick else 1000
    folder = Path(options.out)

    def wanted(part: str) -> bool:
        return options.only in (None, part)

    failures: list[measure.Failure] = []
    compiled = options.compiled.resolve() if options.compiled else None
    with everything(1 if options.quick else 10, bulk_rows, compiled) as bench:
        run = report.Run(
            statements=(
                measure.statements(bench, clients, seconds, failures)
                if wanted("statements")
                else ()
            ),
            bulk=measure.bulk(bench, failures) if wanted("bulk") else (),
            idle=measure.idle(bench, idle) if wanted("idle") else (),
            server=bench.version(),
            failures=failures,
            seconds_each=seconds,
            quick=options.quick,
        )
    folder.mkdir(parents=True, exist_ok=True)
    if wanted("profile"):
        (folder / "profile.txt").write_text(profile.under_load(5 if options.quick else 15))
    limits = folder / "limits.md"
    report.write(run, folder, limits.read_text().strip() if limits.exists() else "")
    for aim in report.aims(run):
        print(f"{'met   ' if aim.met else 'missed'}  {aim.what}: {aim.reached} ({aim.aim})")
    for failure in failures:
        print(f"failed  {failure.way}, {failure.what}: {failure.why}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
