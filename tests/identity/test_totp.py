"""Codes of authenticator apps, against RFC 6238's own vectors."""

from urllib.parse import parse_qs, urlsplit

import pytest

from taskgate.identity.totp import (
    DRIFT_STEPS,
    STEP_S,
    base32,
    code_of,
    enrolment_uri,
    matching_step,
    step_at,
)

SECRET = b"12345678901234567890"


# Appendix B, SHA-1; the last six of the eight digits printed there.
@pytest.mark.parametrize(
    ("at", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_codes_are_those_of_the_rfc(at: int, code: str) -> None:
    assert code_of(SECRET, step_at(at)) == code


def test_a_code_counts_one_step_before_and_after_its_own_and_no_more() -> None:
    code = code_of(SECRET, step_at(3000))
    taken = [at for at in range(2900, 3100) if matching_step(SECRET, code, at) is not None]
    assert (taken[0], taken[-1]) == (2970, 3059)
    assert len(taken) == STEP_S * (1 + 2 * DRIFT_STEPS)


@pytest.mark.parametrize("code", ["", "28708", "2870820", "287081", "abcdef", "²87082", "\ud800"])
def test_what_is_no_code_matches_nothing(code: str) -> None:
    assert matching_step(SECRET, code, 59) is None


def test_the_uri_is_as_apps_read_it() -> None:
    uri = enrolment_uri(SECRET, "ann@example.com", "taskgate gate:8443")
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert parts.path == "/taskgate%20gate%208443:ann%40example.com"
    assert parse_qs(parts.query) == {
        "secret": ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"],
        "issuer": ["taskgate gate 8443"],
    }
    assert base32(SECRET) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
