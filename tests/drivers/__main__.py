"""psycopg's and asyncpg's own test suites, run against PostgreSQL direct and through the gate.

    make test-drivers                                  asyncpg's, out of its source distribution
    make test-drivers PSYCOPG_SOURCE=/path/checkout    psycopg's too: it ships its tests only in
                                                       its repository, so give a checkout of that

Every test whose outcome differs must be explained in docs/driver-suites-reasons.toml; the result
is written to docs/driver-suites.md. Nothing of theirs is kept in this repository.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tests.gates import PERMIT_EVERYTHING, running_gate
from tests.servers import PASSWORD, SUPERUSER, Server, Servers

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "driver-suites"
REASONS = ROOT / "docs" / "driver-suites-reasons.toml"
REPORT = ROOT / "docs" / "driver-suites.md"
SUITE_TIMEOUT_S = 1800
# Databases that the suites name themselves.
DATABASES = ("postgres", "asyncpg_intro_test", "testdb")
# What the suites import and this project does not need.
EXTRAS = ("distro", "dnspython", "pproxy")


@dataclass(frozen=True, slots=True)
class Suite:
    """One driver's tests, laid out in `directory`."""

    name: str
    version: str
    directory: Path


@dataclass(frozen=True, slots=True)
class Way:
    """Where a run connects."""

    port: int
    user: str
    password: str
    database: str


Outcomes = Mapping[str, str]


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "-q", *arguments], check=True)


def asyncpg_suite() -> Suite:
    """The tests of the asyncpg that is installed here, from its source distribution."""
    version = metadata.version("asyncpg")
    target = CACHE / f"asyncpg-{version}"
    if not (target / "tests").is_dir():
        _pip(
            "download", "--no-binary", ":all:", "--no-deps", "-d", str(CACHE), f"asyncpg=={version}"
        )
        archive = next(CACHE.glob(f"asyncpg-{version}.tar.gz"))
        with tarfile.open(archive) as tar:
            members = [m for m in tar if m.name.startswith(f"asyncpg-{version}/tests/")]
            tar.extractall(CACHE, members, filter="data")
    return Suite("asyncpg", version, target)


def psycopg_suite(source: Path) -> Suite:
    """The tests of a psycopg checkout (a work tree or a bare repository), run with the psycopg
    that is installed here."""
    target = CACHE / "psycopg"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if (source / "tests").is_dir():
        shutil.copytree(source / "tests", target / "tests")
    else:
        packed = subprocess.run(
            ["git", "-C", str(source), "archive", "HEAD", "tests"], check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", str(target)], input=packed, check=True)
    return Suite("psycopg", metadata.version("psycopg"), target)


def run_suite(suite: Suite, way: Way, log: Path) -> Outcomes:
    """Each test's outcome: passed, failed or skipped."""
    results = log.with_suffix(".xml")
    results.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "pytest", "tests", "-q", "-W", "ignore", "--tb=native",
        "--timeout", "60",
        "-c", os.devnull, "--rootdir", str(suite.directory), "-o", "asyncio_mode=auto",
        f"--junitxml={results}",
    ]  # fmt: skip
    if suite.name == "psycopg":
        command += [
            "--ignore=tests/pool", "-m", "not slow and not mypy and not timing",
            "--test-dsn", f"host=127.0.0.1 port={way.port} user={way.user} dbname={way.database} "
            f"password='{way.password}' sslmode=disable",
        ]  # fmt: skip
    else:
        command += ["-p", "no:cacheprovider"]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PG", "PYTHON"))},
        "PGHOST": "127.0.0.1", "PGPORT": str(way.port), "PGUSER": way.user,
        "PGPASSWORD": way.password, "PGDATABASE": way.database, "PGSSLMODE": "disable",
        "PYTHONPATH": str(CACHE / "extras"),
    }  # fmt: skip
    with log.open("w") as out:
        subprocess.run(
            command, cwd=suite.directory, env=environment, stdout=out, stderr=out, check=False,
            timeout=SUITE_TIMEOUT_S,
        )  # fmt: skip
    return _outcomes(results)


def _outcomes(results: Path) -> Outcomes:
    found: dict[str, str] = {}
    for case in ET.parse(results).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            found[name] = "failed"
        elif "skipped" in kinds:
            found.setdefault(name, "skipped")
        else:
            found.setdefault(name, "passed")
    return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """One suite both ways. `different` has (test, direct, gate, reason)."""

    suite: Suite
    major: int
    direct: Outcomes
    gate: Outcomes
    different: tuple[tuple[str, str, str, str], ...]


def compare(suite: Suite, major: int, direct: Outcomes, gate: Outcomes) -> Comparison:
    """The tests that end otherwise through the gate, each with its reason or an empty one."""
    reasons: Mapping[str, str] = tomllib.loads(REASONS.read_text()).get(suite.name, {})
    rows = []
    for test in sorted(direct.keys() | gate.keys()):
        before, after = direct.get(test, "not run"), gate.get(test, "not run")
        if before != after:
            why = next((r for pattern, r in reasons.items() if re.search(pattern, test)), "")
            rows.append((test, before, after, why))
    return Comparison(suite, major, direct, gate, tuple(rows))


def write_report(comparisons: list[Comparison]) -> None:
    """docs/driver-suites.md, from this run alone."""
    versions = ", ".join(sorted({str(one.major) for one in comparisons}))
    lines = [
        "# The drivers' own test suites, direct and through the gate", "",
        "Written by `make test-drivers`. Each suite ran twice against PostgreSQL "
        f"{versions}, each time a fresh one: as a superuser direct, and through the gate under a "
        "task that permits everything. Listed are the tests that end otherwise through the gate.",
        "",
    ]  # fmt: skip
    for one in comparisons:
        before, after = Counter(one.direct.values()), Counter(one.gate.values())
        lines += [
            f"## {one.suite.name} {one.suite.version}", "",
            "| | passed | failed | skipped |", "|---|---|---|---|",
            *(
                f"| {way} | {c['passed']} | {c['failed']} | {c['skipped']} |"
                for way, c in (("direct", before), ("gate", after))
            ), "",
        ]  # fmt: skip
        by_reason: dict[str, list[str]] = {}
        for test, was, now, why in one.different:
            by_reason.setdefault(why or "**Not explained yet**", []).append(
                f"  - `{test}`: {was} direct, {now} through the gate"
            )
        for why, tests in by_reason.items():
            lines += [f"- {why} ({len(tests)})", "", *tests, ""]
        if not one.different:
            lines += ["No test differs.", ""]
    REPORT.write_text("\n".join(lines))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--psycopg-source", type=Path, default=os.environ.get("PSYCOPG_SOURCE"))
    parser.add_argument("--only", choices=("asyncpg", "psycopg"))
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    if not (CACHE / "extras").is_dir():
        _pip("install", "--target", str(CACHE / "extras"), *EXTRAS)
    suites = []
    if options.only != "psycopg":
        suites.append(asyncpg_suite())
    if options.psycopg_source and options.only != "asyncpg":
        suites.append(psycopg_suite(Path(options.psycopg_source)))
    elif options.only != "asyncpg":
        print("psycopg's suite is left out: PSYCOPG_SOURCE names no checkout of it")
    comparisons = [_both_ways(suite) for suite in suites]
    if options.only is None and options.psycopg_source:
        # Half a run must not replace the whole one's page.
        write_report(comparisons)
    unexplained = [row for one in comparisons for row in one.different if not row[3]]
    for test, was, now, _ in unexplained:
        print(f"unexplained: {test}: {was} direct, {now} through the gate")
    print(f"{len(unexplained)} unexplained differences; see {REPORT.relative_to(ROOT)}")
    return 1 if unexplained else 0


def _server(pool: Servers) -> Server:
    found = pool.get(15) or pool.get(18)
    if found is None:
        raise SystemExit("no PostgreSQL is installed")
    return found


def _both_ways(suite: Suite) -> Comparison:
    # A server of its own for each way: the suites leave roles, types and databases behind.
    print(f"{suite.name} {suite.version}: direct", flush=True)
    with closing(Servers()) as pool:
        server = _server(pool)
        way = Way(server.port, SUPERUSER, PASSWORD, server.new_database("drivers"))
        direct = run_suite(suite, way, CACHE / f"{suite.name}-direct.log")
    print(f"{suite.name} {suite.version}: through the gate", flush=True)
    with closing(Servers()) as pool:
        server = _server(pool)
        database = server.new_database("drivers")
        with running_gate(server, database, PERMIT_EVERYTHING, databases=DATABASES) as gate:
            way = Way(gate.port, "everything", gate.grant("everything"), database)
            through = run_suite(suite, way, CACHE / f"{suite.name}-gate.log")
    return compare(suite, server.major, direct, through)


if __name__ == "__main__":
    sys.exit(main())
