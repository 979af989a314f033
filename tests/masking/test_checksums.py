import pytest

from taskgate.masking.checksums import IBAN_LENGTHS, card_valid, iban_valid, luhn_valid, ssn_valid
from tests.masking.samples import PUBLISHED_CARDS, PUBLISHED_IBANS


@pytest.mark.parametrize("digits", PUBLISHED_CARDS)
def test_published_test_cards_are_cards(digits: str) -> None:
    assert card_valid(digits)


@pytest.mark.parametrize("digits", PUBLISHED_CARDS)
def test_any_one_wrong_digit_is_seen(digits: str) -> None:
    for at, digit in enumerate(digits):
        wrong = digits[:at] + str((int(digit) + 1) % 10) + digits[at + 1 :]
        assert not luhn_valid(wrong)


@pytest.mark.parametrize(
    "digits", ["0000000000000000", "9999999999999995", "79927398713", "4" * 20]
)
def test_no_scheme_no_card(digits: str) -> None:
    assert not card_valid(digits)


@pytest.mark.parametrize("iban", PUBLISHED_IBANS)
def test_published_ibans_are_ibans(iban: str) -> None:
    assert iban_valid(iban)
    assert not iban_valid(iban[:-1])
    wrong = iban[:-1] + ("1" if iban[-1] != "1" else "2")
    assert not iban_valid(wrong)


def test_iban_lengths_are_possible() -> None:
    assert all(15 <= length <= 34 for length in IBAN_LENGTHS.values())


@pytest.mark.parametrize("digits", ["219099999", "078051120", "001010001"])
def test_social_security_numbers(digits: str) -> None:
    assert ssn_valid(digits)


@pytest.mark.parametrize(
    "digits",
    ["000123456", "666123456", "900123456", "999999999", "123006789", "123450000", "12345"],
)
def test_numbers_never_issued(digits: str) -> None:
    assert not ssn_valid(digits)
