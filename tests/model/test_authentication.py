"""What a task asks of a sign-in, against what was told of it."""

import pytest

from taskgate.model.authentication import Authentication, SignInDemand, spell_span

NOW = 1_000_000.0


def shown(*amr: str, acr: str = "", ago_s: float | None = None) -> Authentication:
    return Authentication(frozenset(amr), acr, None if ago_s is None else NOW - ago_s)


@pytest.mark.parametrize(
    ("amr", "expected"),
    [
        (("pwd", "mfa"), True),
        (("mfa",), True),
        (("pwd", "otp"), True),
        (("hwk", "pin"), True),
        (("hwk", "fpt"), True),
        ((), False),
        (("pwd",), False),
        (("hwk",), False),
        (("pwd", "kba"), False),
        (("otp", "sms"), False),
        (("MFA",), False),
        (("mfa ",), False),
        (("pwd", "made-up"), False),
    ],
)
def test_more_than_one_factor(amr: tuple[str, ...], expected: bool) -> None:
    assert shown(*amr).multi_factor is expected


@pytest.mark.parametrize(
    ("demand", "given", "missing"),
    [
        (SignInDemand(), shown(), ()),
        (SignInDemand(mfa=True), shown("pwd", "mfa"), ()),
        (SignInDemand(mfa=True), shown("pwd"), ("a second factor",)),
        (SignInDemand(within_s=900), shown(ago_s=900), ()),
        (SignInDemand(within_s=900), shown(ago_s=-30), ()),
        (SignInDemand(within_s=900), shown(ago_s=900.5), ("a sign-in within the last 15 minutes",)),
        (SignInDemand(within_s=900), shown(), ("a sign-in within the last 15 minutes",)),
        (SignInDemand(acr=("gold",)), shown(acr="gold"), ()),
        (SignInDemand(acr=("gold", "silver")), shown(acr="silver"), ()),
        (SignInDemand(acr=("gold",)), shown(acr="Gold"), ("a sign-in of class gold",)),
        (SignInDemand(acr=("gold",)), shown(), ("a sign-in of class gold",)),
        (
            SignInDemand(True, 60, ("gold",)),
            shown("pwd", ago_s=61),
            (
                "a second factor",
                "a sign-in of class gold",
                "a sign-in within the last 1 minute",
            ),
        ),
    ],
)
def test_what_is_missing(
    demand: SignInDemand, given: Authentication, missing: tuple[str, ...]
) -> None:
    assert demand.unmet(given, NOW) == missing


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (60, "1 minute"),
        (90, "90 seconds"),
        (900, "15 minutes"),
        (3600, "1 hour"),
        (172800, "2 days"),
        (5400, "90 minutes"),
    ],
)
def test_spans_in_words(seconds: float, expected: str) -> None:
    assert spell_span(seconds) == expected
