import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.masking.detectors import KINDS, Detectors, Span
from taskgate.masking.finder import MAX_CANDIDATES
from taskgate.masking.folding import foldable
from taskgate.model.errors import BadConfig
from taskgate.policy.load import DETECTED_KINDS
from tests.masking.samples import (
    CLOUD_KEYS,
    JWT,
    OPENSSH,
    PEM,
    PUBLISHED_CARDS,
    PUBLISHED_IBANS,
    SECRETS,
    UNSIGNED_JWT,
)

ALL = Detectors(KINDS)

# (kind, text, what of it is found)
FOUND = [
    *(("credit_card", f"card {digits}.", digits) for digits in PUBLISHED_CARDS),
    ("credit_card", "4111 1111 1111 1111 12/27", "4111 1111 1111 1111"),
    ("credit_card", "4111-1111-1111-1111", "4111-1111-1111-1111"),
    ("credit_card", "4111.1111.1111.1111", "4111.1111.1111.1111"),
    ("credit_card", "3782 822463 10005", "3782 822463 10005"),
    ("credit_card", "12 4111 1111 1111 1111", "4111 1111 1111 1111"),
    ("credit_card", "card4111111111111111x", "4111111111111111"),
    ("credit_card", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
    ("credit_card", "4111111111111111=2512101", "4111111111111111"),
    *(("iban", f"an {iban} und", iban) for iban in PUBLISHED_IBANS),
    ("iban", "DE89 3704 0044 0532 0130 00 and more", "DE89 3704 0044 0532 0130 00"),
    ("iban", "de89370400440532013000", "de89370400440532013000"),
    ("iban", "xDE89370400440532013000", "DE89370400440532013000"),
    ("us_ssn", "his 219-09-9999,", "219-09-9999"),
    ("us_ssn", "219 09 9999", "219 09 9999"),
    ("us_ssn", "219099999", "219099999"),
    ("us_ssn", "SSN: 219099999 of", "219099999"),
    ("us_ssn", "2024-219-09-9999", "219-09-9999"),
    ("email", "to <jane.doe+x@mail.example.co.uk>.", "jane.doe+x@mail.example.co.uk"),
    ("email", "jürgen@exämple.de", "jürgen@exämple.de"),
    ("email", "a@xn--exmple-cua.xn--p1ai", "a@xn--exmple-cua.xn--p1ai"),
    ("email", 'x "jane doe"@example.com', '"jane doe"@example.com'),
    ("email", "root@[192.0.2.1]", "root@[192.0.2.1]"),
    ("email", "mailto:a@b.de", "a@b.de"),
    ("phone", "call +49 (0)30 1234567 now", "+49 (0)30 1234567"),
    ("phone", "+12125550187", "+12125550187"),
    ("phone", "(212) 555-0187", "(212) 555-0187"),
    ("phone", "212.555.0187", "212.555.0187"),
    ("phone", "1-212-555-0187", "1-212-555-0187"),
    ("phone", "2125550187", "2125550187"),
    ("phone", "0049 30 901820", "0049 30 901820"),
    ("phone", "06 12 34 56 78", "06 12 34 56 78"),
    ("phone", "020 7946 0958", "020 7946 0958"),
    ("phone", "030/901820", "030/901820"),
    ("phone", "07911123456", "07911123456"),
    ("ipv4", "from 203.0.113.77.", "203.0.113.77"),
    ("ipv4", "203.0.113.77:8080", "203.0.113.77"),
    ("ipv4", "10.0.0.1...", "10.0.0.1"),
    ("ipv6", "[2001:db8::1]:443", "2001:db8::1"),
    ("ipv6", "is 2001:db8:85a3:0:0:8a2e:370:7334.", "2001:db8:85a3:0:0:8a2e:370:7334"),
    ("ipv6", "::ffff:203.0.113.77", "::ffff:203.0.113.77"),
    ("ipv6", "fe80::1%eth0", "fe80::1"),
    ("jwt", f"Bearer {JWT}", JWT),
    ("jwt", UNSIGNED_JWT, UNSIGNED_JWT),
    ("private_key", f"x {PEM} y", PEM),
    ("private_key", PEM[:60], PEM[:60]),
    ("private_key", PEM.replace("RSA ", "ENCRYPTED "), PEM.replace("RSA ", "ENCRYPTED ")),
    ("private_key", OPENSSH, OPENSSH),
    *(("cloud_key", f"key={key};", key) for key in CLOUD_KEYS),
    ("cloud_key", "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
     "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("cloud_key", '{"SecretAccessKey": "' + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" + '"}',
     "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
]  # fmt: skip

# The same values, written so that a plain pattern misses them.
DISGUISED = [
    ("credit_card", "４１１１ １１１１ １１１１ １１１１"),
    ("credit_card", "٤١١١١١١١١١١١١١١١"),
    ("credit_card", "4111\u200b1111\u200b1111\u200b1111"),
    ("credit_card", "4111\u00a01111\u00a01111\u00a01111"),
    ("credit_card", "4111\u20131111\u20131111\u20131111"),
    ("credit_card", "4111\u00ad1111\u00ad1111\u00ad1111"),
    ("credit_card", "411111111111111&#49;"),
    ("credit_card", "\\u0034111111111111111"),
    ("us_ssn", "219\u201109\u20119999"),
    ("email", "jane@exam\u200dple.com"),
    ("email", "jane\uff20example\uff0ecom"),
    ("email", "jane\\u0040example.com"),
    ("email", "jane\\\\u0040example.com"),
    ("email", "jane\\x40example.com"),
    ("email", "jane%40example.com"),
    ("email", "jane%2540example.com"),
    ("email", "jane&#64;example.com"),
    ("email", "jane&#x40;example.com"),
    ("email", "jane&commat;example&period;com"),
    ("email", "jane&amp;#64;example.com"),
    ("email", "\\x6a616e65406578616d706c652e636f6d"),
    ("phone", "+49\u00a030\u00a0901820"),
    ("phone", "\uff0b49 30 901820"),
    ("iban", "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000"),
    ("ipv4", "203。0。113。77"),
]

CLEAN = [
    "", "John Smith", "4111111111111112", "1234567890123456", "2024-01-01", "01.02.2024 12:30",
    "2024-01-01 10:00:00.123456+00", "2024-01-01T10:00:00.123+02:00", "12:34:56",
    "550e8400-e29b-41d4-a716-446655440000",
    "a1234567-0123-4567-8901-a12345678901",
    "41111111-1111-1111-4111-111111111111",
    "ab4111111111111111cdef0123456789abcdef01",
    "ff00be68539007547034cdef0123456789abcdef",
    "0612345678abcdef0612345678abcdef", "aa:bb:cc:dd:ee:ff", "version 1.2.3.4.5", "1.2.3",
    "256.1.1.1", "select a::text, b::int", "std::vector::begin", "a@b", "user@localhost", "@here",
    "1600000000", "1600000000000", "order 123456789 of", "000-12-3456", "666-12-3456",
    "DE00370400440532013000", "Straße 12, 10115 Berlin", "3.14159265358979323846", "$1,234.56",
    "eyJhbGciOi.not.json", "-----BEGIN PUBLIC KEY-----", "AKIA", "ghp_short", "100%", "AT&T",
    "C:\\new\\x", "0123456789012345678901234567890",
]  # fmt: skip


def found(text: str, detectors: Detectors = ALL) -> list[tuple[str, str]]:
    return [(s.kind, text[s.start : s.end]) for s in detectors.find(text)]


@pytest.mark.parametrize(("kind", "text", "part"), FOUND)
def test_finds(kind: str, text: str, part: str) -> None:
    assert found(text, Detectors([kind])) == [(kind, part)]


@pytest.mark.parametrize(("kind", "text"), DISGUISED)
def test_finds_the_disguised_whole(kind: str, text: str) -> None:
    assert found(f"{text}", Detectors([kind])) == [(kind, text)]
    assert found(text) == [(kind, text)]


@pytest.mark.parametrize("text", CLEAN)
def test_leaves_the_ordinary(text: str) -> None:
    assert found(text) == []


def test_a_kind_that_is_not_wanted_is_not_found() -> None:
    assert found("jane@example.com", Detectors(["credit_card"])) == []
    assert found("jane@example.com", Detectors([])) == []


def test_an_unknown_kind_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(BadConfig, match="shoe_size") as raised:
        Detectors(["shoe_size"])
    assert "credit_card" in raised.value.hint


def test_overlapping_finds_are_one_span() -> None:
    text = "root@[192.0.2.1]"
    assert ALL.find(text) == [Span(0, len(text), "email")]


def test_finds_that_overlap_in_part_are_hidden_from_first_to_last() -> None:
    text = "2001:db8:85a3::1@example.com"
    assert found(text, Detectors(["ipv6"])) == [("ipv6", "2001:db8:85a3::1")]
    assert found(text, Detectors(["email"])) == [("email", "1@example.com")]
    assert found(text) == [("email", text)]


def test_a_character_that_reads_as_several_is_hidden_whole() -> None:
    text = "411111111111111\u2488 x"
    assert found(text, Detectors(["credit_card"])) == [("credit_card", "411111111111111\u2488")]


def test_offsets_are_in_characters() -> None:
    assert found("übergroß: ä@ö.de €") == [("email", "ä@ö.de")]


@given(
    st.sampled_from(sorted(SECRETS)),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_a_secret_is_covered_wherever_it_stands(kind: str, before: str, after: str) -> None:
    secret = SECRETS[kind]
    text = f"{before}\n {secret} \n{after}"
    start = len(before) + 2
    covered: set[int] = set()
    for span in ALL.find(text):
        covered.update(range(span.start, span.end))
    assert covered >= {at for at in range(start, start + len(secret)) if text[at] not in " \n"}


@given(
    st.sampled_from([text for _, text, _ in FOUND] + [text for _, text in DISGUISED]),
    st.binary(max_size=30),
    st.binary(max_size=30),
)
def test_a_buffer_around_a_value_never_hides_it(text: str, before: bytes, after: bytes) -> None:
    """The scan of whole buffers rests on this: hints need nothing around the value."""
    assert ALL.may_contain(before + text.encode() + after)


@given(st.lists(st.binary(max_size=40), min_size=2, max_size=6), st.data())
def test_hints_stay_within_values_joined_by_zero_bytes(
    values: list[bytes], data: st.DataObject
) -> None:
    values.insert(data.draw(st.integers(0, len(values))), b"x jane@example.com")
    values = [v.replace(b"\0", b"") for v in values]
    joined = b"\0".join(values)
    dirty = set()
    start = 0
    for at, value in enumerate(values):
        if start <= (hint := ALL.first_hint(joined, start)) < start + len(value):
            dirty.add(at)
        start += len(value) + 1
        assert hint < 0 or hint >= start - len(value) - 1
    assert dirty == {at for at, value in enumerate(values) if ALL.may_contain(value)}


@given(st.binary(max_size=200))
def test_any_bytes_can_be_searched(data: bytes) -> None:
    spans = ALL.find_bytes(data)
    assert all(0 <= s.start < s.end <= len(data) for s in spans)
    assert all(a.end <= b.start for a, b in pairwise(spans))


HOSTILE = {
    "digits": "4" * 400_000, "spaced digits": "4 " * 200_000, "dashes": "1-2-3-" * 70_000,
    "at signs": "a@" * 200_000, "jwt starts": "eyJ" * 130_000, "dots": "1." * 200_000,
    "colons": ":" * 400_000, "pem starts": "-----BEGIN PRIVATE KEY-----" * 15_000,
    "base64": "A" * 400_000 + "-----END", "iban starts": "DE89" * 100_000,
    "pluses": "+1" * 200_000, "escapes": "\\u0034" * 60_000, "percents": "%40" * 130_000,
    "backslashes": "\\" * 400_000, "hex": "\\x" + "34" * 200_000, "nines": "123456789 " * 40_000,
    "zero width": "4\u200b" * 100_000, "quotes": '"' * 400_000, "ampersands": "&amp;" * 80_000,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_costs_linear_time(name: str) -> None:
    started = time.process_time()
    ALL.find(HOSTILE[name])
    assert time.process_time() - started < 5.0


def test_a_value_of_too_many_candidates_is_hidden_whole() -> None:
    text = "1234567890123 x" * (MAX_CANDIDATES + 1)
    assert Detectors(["credit_card"]).find(text) == [Span(0, len(text), "credit_card")]


def test_every_folded_character_is_seen_by_the_hint() -> None:
    assert foldable().search("４".encode()) is not None
    assert ALL.may_contain("x\u200by".encode())


def test_policy_files_may_name_every_kind_and_no_other() -> None:
    assert set(KINDS) == DETECTED_KINDS
