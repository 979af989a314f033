"""The reasons for differences are readable, and each is given once for a kind of test."""

import re
import tomllib
from pathlib import Path

from tests.drivers.__main__ import REASONS, Suite, compare

ROOT = Path(__file__).resolve().parents[2]


def test_every_reason_is_a_pattern_and_a_sentence() -> None:
    for suite, reasons in tomllib.loads(REASONS.read_text()).items():
        assert suite in {"asyncpg", "psycopg"}
        for pattern, reason in reasons.items():
            re.compile(pattern)
            assert reason.endswith("."), reason


def test_only_what_differs_is_listed_and_what_has_no_reason_shows() -> None:
    direct = {"m::same": "passed", "m::new": "passed", "m::gone": "passed", "m::bad": "failed"}
    gate = {"m::same": "passed", "m::new": "failed", "m::bad": "failed"}
    found = compare(Suite("asyncpg", "1", ROOT), 15, direct, gate)
    assert [(test, after, why) for test, _, after, why in found.different] == [
        ("m::gone", "not run", ""),
        ("m::new", "failed", ""),
    ]
