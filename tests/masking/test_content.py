import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.masking.content import KindMasker
from taskgate.masking.detectors import KINDS
from taskgate.masking.json_content import MAX_TOKENS, REDACTED_JSON, hide_json
from taskgate.model.errors import BadConfig
from taskgate.model.masks import KindMask, Transform, TransformKind
from tests.masking.samples import PEM, SECRETS

KEY = b"0123456789abcdef"


def masker(
    kind: TransformKind = TransformKind.REDACT, *kinds: str, constant: str = ""
) -> KindMasker:
    transform = Transform(kind, constant)
    return KindMasker([KindMask(k, transform, f"rule-{k}") for k in kinds or KINDS], KEY)


def test_values_are_cut_out_and_counted() -> None:
    hides = masker()
    assert hides.hide(b"a@b.de or c@d.de, 10.0.0.1") == (
        b"[masked:email] or [masked:email], [masked:ipv4]"
    )
    assert hides.counts.kinds == {"email": 2, "ipv4": 1}
    assert hides.counts.rules == {"rule-email": 2, "rule-ipv4": 1}


def test_clean_text_is_the_same_object() -> None:
    data = b"nothing here"
    assert masker().hide(data) is data


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (TransformKind.REDACT, b"x [masked:email] y"),
        (TransformKind.PARTIAL, b"x j***@e***.com y"),
        (TransformKind.CONSTANT, b"x gone y"),
        (TransformKind.NULL, None),
    ],
)
def test_each_transform(kind: TransformKind, expected: bytes | None) -> None:
    assert masker(kind, constant="gone").hide(b"x jane@example.com y") == expected


def test_the_first_mask_of_a_kind_counts() -> None:
    hides = KindMasker(
        [
            KindMask("email", Transform(TransformKind.NULL), "one"),
            KindMask("email", Transform(TransformKind.REDACT), "two"),
        ]
    )
    assert hides.hide(b"a@b.de") is None
    assert hides.counts.rules == {"one": 1}


def test_a_message_is_redacted_where_the_mask_says_null() -> None:
    assert masker(TransformKind.NULL).hide_text("to jane@example.com") == "to [masked:email]"


def test_text_that_is_not_in_its_encoding_shows_nothing() -> None:
    assert masker(TransformKind.PARTIAL).hide(b"\xff\xe9jane@example.com") == b"[masked:email]"


def test_a_hash_without_a_key_is_refused() -> None:
    with pytest.raises(BadConfig):
        KindMasker([KindMask("email", Transform(TransformKind.HASH), "r")])


@pytest.mark.parametrize(
    ("document", "hidden"),
    [
        ({"a": "jane@example.com", "b": 1}, {"a": "[masked:email]", "b": 1}),
        ({"jane@example.com": [1, None]}, {"[masked:email]": [1, None]}),
        ([4111111111111111, 12], ["[masked:credit_card]", 12]),
        ([-4111111111111111.0], ["[masked:credit_card]"]),
        ("x jane@example.com", "x [masked:email]"),
        ({"k": PEM, "z": "kept"}, {"k": "[masked:private_key]", "z": "kept"}),
        ({"a": "sure", "n": 17}, {"a": "sure", "n": 17}),
    ],
)
def test_json_stays_json(document: object, hidden: object) -> None:
    out = hide_json(json.dumps(document).encode(), masker())
    assert out is not None
    assert json.loads(out) == hidden


@pytest.mark.parametrize(
    "raw",
    [b'"jane\\u0040example.com"', b'"\\u006aane@exa\\u006dple.com"', b'"jane@example\\u002ecom"'],
)
def test_json_escapes_hide_nothing(raw: bytes) -> None:
    assert hide_json(raw, masker()) == b'"[masked:email]"'


@pytest.mark.parametrize(
    "raw",
    [
        b"{jane@example.com",
        b'"jane@example.com',
        b'["4111 1111", "1111 1111"] 4111 1111 1111 1111',
        ('{"k": "' + PEM[:40] + '", "z": "y"}').encode(),
    ],
)
def test_what_cannot_be_cut_out_hides_the_document(raw: bytes) -> None:
    assert hide_json(raw, masker()) == REDACTED_JSON


def test_a_document_of_too_many_tokens_is_hidden_whole() -> None:
    raw = json.dumps([*range(MAX_TOKENS), "jane@example.com"]).encode()
    assert hide_json(raw, masker()) == REDACTED_JSON


def test_null_hides_a_json_value_and_keeps_a_key_a_string() -> None:
    raw = b'{"jane@example.com": "x jane@example.com"}'
    out = hide_json(raw, masker(TransformKind.NULL))
    assert out is not None
    assert json.loads(out) == {"[masked]": None}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.sampled_from(
        sorted(SECRETS.values())
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=10,
)  # fmt: skip


@given(_JSON, st.sampled_from(list(TransformKind)), st.booleans())
def test_no_secret_survives_in_json(
    document: object, kind: TransformKind, ascii_only: bool
) -> None:
    raw = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    out = hide_json(raw, masker(kind))
    assert out is not None
    text = json.dumps(json.loads(out.decode("utf-8", "surrogatepass")), ensure_ascii=False)
    for secret in SECRETS.values():
        assert secret not in text
        assert json.dumps(secret)[1:-1] not in text
