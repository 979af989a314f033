import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.masking.transforms import HASH_CHARACTERS, Hider, hashed, partial
from taskgate.model.errors import BadConfig
from taskgate.model.masks import Transform, TransformKind
from tests.masking.samples import JWT, PEM, SECRETS

KEY = b"0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("jane.doe@example.com", "email", "j***@e***.com"),
        ("jane.doe@example.com", "", "j***@e***.com"),
        ("j@e.com", "email", "***@***.com"),
        ('"jane doe"@example.com', "email", "***@e***.com"),
        ("jane\\u0040example.com", "email", "[masked]"),
        ("4111 1111 1111 1111", "credit_card", "****1111"),
        ("4111-1111-1111-1111", "", "****1111"),
        ("+49 30 901820", "phone", "****20"),
        ("212-555-0187", "", "****87"),
        ("DE89370400440532013000", "iban", "****3000"),
        ("219-09-9999", "us_ssn", "****9999"),
        ("203.0.113.77", "ipv4", "203.*.*.*"),
        ("2001:db8::1", "ipv6", "2001:***"),
        ("::ffff:203.0.113.77", "ipv6", "[masked]"),
        (JWT, "jwt", "[masked]"),
        (PEM, "private_key", "[masked]"),
        ("Jane Doe", "", "J***e"),
        ("Ann", "", "***"),
        ("Anna", "", "***"),
        ("", "", "***"),
        ("123", "phone", "[masked]"),
    ],
)
def test_partial(text: str, kind: str, shown: str) -> None:
    assert partial(text, kind) == shown


@given(st.text(min_size=5, max_size=60))
def test_partial_shows_little_and_no_length(text: str) -> None:
    shown = partial(text)
    assert text.strip() not in shown or len(text.strip()) < 2
    assert len(shown) <= 40


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("transform", TransformKind)
def test_no_transform_keeps_a_secret(kind: str, transform: TransformKind) -> None:
    hidden = Hider(KEY).hide(Transform(transform, "x"), SECRETS[kind], kind)
    assert hidden is None or SECRETS[kind] not in hidden


def test_equal_values_hash_alike_and_others_do_not() -> None:
    assert hashed("a@b.de", KEY) == hashed("a@b.de", KEY)
    assert hashed("a@b.de", KEY) != hashed("a@b.df", KEY)
    assert hashed("a@b.de", KEY) != hashed("a@b.de", KEY[::-1])
    assert len(hashed("", KEY)) == HASH_CHARACTERS


def test_a_hash_needs_a_key() -> None:
    with pytest.raises(BadConfig, match="key"):
        Hider(b"short").check((Transform(TransformKind.HASH),))
    Hider(b"").check((Transform(TransformKind.REDACT),))
