"""Rows under plans: vectors, malformed rows, and what no plan may let through."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.masking.detectors import KINDS
from taskgate.masking.plan import FieldMask, MaskPlan
from taskgate.model.errors import BadConfig, OverLimit, ProtocolViolation
from taskgate.model.limits import MAX_MASKED_ROW_BYTES
from taskgate.model.masks import KindMask, Transform, TransformKind
from taskgate.protocols.postgres.rewrite import RowRewriter
from taskgate.protocols.postgres.scalars import encode_numeric
from tests.masking.samples import SECRETS
from tests.protocols.postgres.rows import Row, data_rows, frame, read_data_rows, sized
from tests.servers import Server

KEY = b"0123456789abcdef"
REDACT = Transform(TransformKind.REDACT)
TEXT, INT4, INT8, NUMERIC, FLOAT8, MONEY = 25, 23, 20, 1700, 701, 790
JSONB, BYTEA, TIMESTAMPTZ, TEXT_ARRAY, UNKNOWN = 3802, 17, 1184, 1009, 99_999


def kinds(*names: str, transform: Transform = REDACT) -> tuple[KindMask, ...]:
    return tuple(KindMask(name, transform, f"kind-{name}") for name in names or KINDS)


def column(at: int, count: int, transform: Transform = REDACT) -> MaskPlan:
    return MaskPlan(tuple(FieldMask(transform, "r") if i == at else None for i in range(count)))


def rewritten(plan: MaskPlan, oids: list[int], rows: list[Row], binary: bool = False) -> list[Row]:
    rewriter = RowRewriter(plan, oids, [int(binary)] * len(oids), KEY)
    return read_data_rows(rewriter.rewrite(data_rows(*rows)))


def test_only_the_planned_field_changes() -> None:
    rows: list[Row] = [[b"1", b"jane", b"x"], [b"2", None, None], [b"", b"", b""]]
    assert rewritten(column(1, 3), [TEXT] * 3, rows) == [
        [b"1", b"[masked]", b"x"],
        [b"2", None, None],
        [b"", b"[masked]", b""],
    ]


def test_counts_are_of_values_and_not_of_nulls() -> None:
    rewriter = RowRewriter(column(0, 1), [TEXT], [0])
    rewriter.rewrite(data_rows([b"a"], [None], [b"b"]))
    rewriter.rewrite(data_rows([b"c"]))
    assert rewriter.counts.rules == {"r": 3}


def test_a_rewriter_made_again_counts_for_itself() -> None:
    first = RowRewriter(MaskPlan((FieldMask(REDACT, "r"), None), kinds()), [TEXT] * 2, [0] * 2)
    second = first.again()
    rows = data_rows([b"a", b"x@y.de"])
    assert first.rewrite(rows) == second.rewrite(rows) != rows
    second.rewrite(rows)
    first.rewrite(rows)
    second.rewrite(rows)
    assert first.counts.rules == {"r": 2, "kind-email": 2}
    assert second.counts.rules == {"r": 3, "kind-email": 3}
    assert second.counts.kinds == {"email": 3}


def test_a_field_may_grow_shrink_or_become_null() -> None:
    plan = MaskPlan(
        (
            FieldMask(Transform(TransformKind.CONSTANT, "y" * 300), "a"),
            FieldMask(Transform(TransformKind.NULL), "b"),
            FieldMask(Transform(TransformKind.CONSTANT, ""), "c"),
        )
    )
    assert rewritten(plan, [TEXT] * 3, [[b"x", b"x", b"x"]]) == [[b"y" * 300, None, b""]]


def test_content_is_found_in_any_field() -> None:
    rewriter = RowRewriter(MaskPlan((None,) * 3, kinds()), [TEXT] * 3, [0] * 3)
    out = rewriter.rewrite(data_rows([b"a", b"to jane@example.com", b"x"], [b"b", None, b"c"]))
    assert read_data_rows(out) == [[b"a", b"to [masked:email]", b"x"], [b"b", None, b"c"]]
    assert rewriter.counts.kinds == {"email": 1}
    assert rewriter.counts.rules == {"kind-email": 1}


def test_every_field_of_a_row_is_looked_at() -> None:
    rows: list[Row] = [[b"a@b.de", b"x", b"c@d.de", b"", None, b"e@f.de"]]
    assert rewritten(MaskPlan((None,) * 6, kinds()), [TEXT] * 6, rows) == [
        [b"[masked:email]", b"x", b"[masked:email]", b"", None, b"[masked:email]"]
    ]


def test_a_row_of_another_number_of_fields_is_no_row_of_the_plan() -> None:
    for at in (0, 1):
        rewriter = RowRewriter(column(at, 2), [TEXT] * 2, [0] * 2)
        with pytest.raises(ProtocolViolation, match="3 fields where 2"):
            rewriter.rewrite(data_rows([b"a", b"b", b"c"]))


def test_clean_rows_go_through_as_they_are() -> None:
    frames = data_rows([b"a", b"b"], [None, b"d"])
    assert (
        RowRewriter(MaskPlan((None, None), kinds()), [TEXT] * 2, [0] * 2).rewrite(frames) is frames
    )


def test_a_column_mask_comes_before_the_search() -> None:
    plan = MaskPlan((FieldMask(Transform(TransformKind.PARTIAL), "r"), None), kinds())
    rows: list[Row] = [[b"jane@example.com", b"jane@example.com"]]
    assert rewritten(plan, [TEXT] * 2, rows) == [[b"j***@e***.com", b"[masked:email]"]]


CARD = 4111111111111111
FOUND_BY_TYPE = [
    (INT8, False, str(CARD).encode(), "credit_card"),
    (INT8, True, struct.pack("!q", CARD), "credit_card"),
    (INT8, True, struct.pack("!q", -CARD), "credit_card"),
    (INT8, True, struct.pack("!q", 2125550187), "phone"),
    (INT4, True, struct.pack("!i", 219099999), "us_ssn"),
    (INT4, False, b"219099999", "us_ssn"),
    (NUMERIC, False, b"4111111111111111.00", "credit_card"),
    (NUMERIC, True, encode_numeric("4111111111111111.00", True), "credit_card"),
    (NUMERIC, False, b"219099999.0", "us_ssn"),
    (FLOAT8, False, b"4.111111111111111e+15", "credit_card"),
    (FLOAT8, True, struct.pack("!d", float(CARD)), "credit_card"),
    (MONEY, False, b"$4,111,111,111,111,111.00", "credit_card"),
    (MONEY, True, struct.pack("!q", CARD * 100), "credit_card"),
    (BYTEA, False, b"\\x" + b"jane@example.com".hex().encode(), "email"),
    (BYTEA, True, b"\0\xffjane@example.com", "email"),
    (TEXT_ARRAY, False, b'{x,"jane@example.com",NULL}', "email"),
    (1016, False, b"{219099999,1}", "us_ssn"),
    (1016, True, struct.pack("!iiIii", 1, 0, INT8, 1, 1) + sized(struct.pack("!q", CARD)),
     "credit_card"),
    (TEXT_ARRAY, True, struct.pack("!iiIii", 1, 1, TEXT, 2, 1) + sized(None)
     + sized(b"jane@example.com"), "email"),
    (2249, True, struct.pack("!i", 2) + struct.pack("!I", INT8) + sized(struct.pack("!q", CARD))
     + struct.pack("!I", TEXT) + sized(None), "credit_card"),
    (2249, False, b'(1,"jane@example.com")', "email"),
    (3926, True, b"\x02" + sized(struct.pack("!q", CARD)) + sized(struct.pack("!q", 5)),
     "credit_card"),
    (869, True, b"\x02\x20\x00\x04\xcb\x00\x71\x4d", "ipv4"),
    (869, False, b"203.0.113.77", "ipv4"),
    (UNKNOWN, True, b"\x07\x00jane@example.com\xff", "email"),
    (UNKNOWN, True, struct.pack("!q", CARD), "credit_card"),
    (UNKNOWN, True, struct.pack("!i", 1) + struct.pack("!I", UNKNOWN)
     + sized(struct.pack("!iiIii", 1, 0, UNKNOWN, 1, 1) + sized(struct.pack("!q", CARD))),
     "credit_card"),
    (UNKNOWN, False, b'"mail"=>"jane@example.com"', "email"),
]  # fmt: skip


@pytest.mark.parametrize(("oid", "binary", "value", "kind"), FOUND_BY_TYPE)
def test_what_is_found_in_a_field_that_is_no_text_makes_it_null(
    oid: int, binary: bool, value: bytes, kind: str
) -> None:
    rewriter = RowRewriter(MaskPlan((None, None), kinds()), [oid, TEXT], [int(binary), 0])
    assert read_data_rows(rewriter.rewrite(data_rows([value, b"x"]))) == [[None, b"x"]]
    assert set(rewriter.counts.kinds) == {kind}
    alone = RowRewriter(MaskPlan((None,), kinds(kind)), [oid], [int(binary)])
    assert read_data_rows(alone.rewrite(data_rows([value]))) == [[None]]


@pytest.mark.parametrize(
    ("oid", "binary", "value"),
    [
        (INT4, False, b"2024"),
        (INT4, True, struct.pack("!i", 12345678)),
        (INT4, True, struct.pack("!i", -5)),
        (INT8, True, struct.pack("!q", 1600000000000)),
        (NUMERIC, True, encode_numeric("19.99", True)),
        (NUMERIC, True, encode_numeric("0.0000411111111111", True)),
        (FLOAT8, False, b"3.14159265358979"),
        (FLOAT8, False, b"NaN"),
        (TIMESTAMPTZ, False, b"2024-01-01 10:00:00.123456+00"),
        (TIMESTAMPTZ, True, struct.pack("!q", CARD)),
        (2950, False, b"41111111-1111-1111-4111-111111111111"),
        (16, False, b"t"),
        (TEXT_ARRAY, False, b"{a,b}"),
        (JSONB, True, b'\x01{"a": 12}'),
    ],
)
def test_ordinary_values_of_all_types_stay(oid: int, binary: bool, value: bytes) -> None:
    rewriter = RowRewriter(MaskPlan((None,), kinds()), [oid], [int(binary)])
    frames = data_rows([value])
    assert rewriter.rewrite(frames) is frames


def test_jsonb_stays_jsonb() -> None:
    rows: list[Row] = [[b'\x01{"m": "jane@example.com", "n": 4111111111111111}']]
    assert rewritten(MaskPlan((None,), kinds()), [JSONB], rows, binary=True) == [
        [b'\x01{"m": "[masked:email]", "n": "[masked:credit_card]"}']
    ]
    rows = [[b'\x02{"m": "jane@example.com"}']]
    assert rewritten(MaskPlan((None,), kinds()), [JSONB], rows, binary=True) == [[None]]


def test_null_as_a_kinds_transform_hides_the_field() -> None:
    plan = MaskPlan((None,), kinds(transform=Transform(TransformKind.NULL)))
    assert rewritten(plan, [TEXT], [[b"x jane@example.com y"]]) == [[None]]


# Nothing to hide, but something that a search looks at: rows without it are not even read.
HINT = b"a@bc"
GOOD = data_rows([HINT, b"x"])


@pytest.mark.parametrize(
    "frames",
    [
        data_rows([HINT]),
        data_rows([HINT, b"x", b"y"]),
        frame(b"C", GOOD[5:]),
        GOOD[:-1],
        GOOD + b"D",
        GOOD + b"D\0\0\0",
        frame(b"D", b""),
        frame(b"D", b"\0\2\0\0\0\xff" + HINT),
        frame(b"D", b"\0\2" + sized(HINT)),
        frame(b"D", b"\0\2\xff\xff\xff\xfe" + sized(HINT)),
        frame(b"D", b"\0\2" + sized(HINT) + b"\x7f\xff\xff\xff"),
        b"D\0\0\0\3\0\2",
        b"D\xff\xff\xff\xff\0\2",
        frame(b"D", GOOD[5:] + b"extra"),
    ],
)
@pytest.mark.parametrize("plan", ["column", "kinds"])
def test_a_malformed_row_ends_the_session_and_leaks_nothing(frames: bytes, plan: str) -> None:
    planned = column(1, 2) if plan == "column" else MaskPlan((None, None), kinds())
    with pytest.raises(ProtocolViolation):
        RowRewriter(planned, [TEXT, TEXT], [0, 0]).rewrite(
            GOOD + frames + data_rows([b"a@b.de", b""])
        )


@pytest.mark.cap("MAX_MASKED_ROW_BYTES")
def test_a_row_too_long_to_be_masked_is_refused() -> None:
    frames = data_rows([b"jane", b"x" * MAX_MASKED_ROW_BYTES])
    with pytest.raises(OverLimit):
        RowRewriter(column(0, 2), [TEXT] * 2, [0] * 2).rewrite(frames)


def test_a_plan_for_other_fields_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        RowRewriter(column(0, 2), [TEXT], [0])


def test_a_hash_needs_a_key() -> None:
    with pytest.raises(BadConfig):
        RowRewriter(column(0, 1, Transform(TransformKind.HASH)), [TEXT], [0])


_FIELDS = st.none() | st.binary(max_size=20)


@given(st.lists(st.lists(_FIELDS, min_size=3, max_size=3), max_size=5))
def test_an_empty_plan_is_identity(rows: list[Row]) -> None:
    frames = data_rows(*rows)
    assert RowRewriter(MaskPlan((None,) * 3), [TEXT] * 3, [0] * 3).rewrite(frames) is frames


_OIDS = st.sampled_from([TEXT, 1043, JSONB, BYTEA, TEXT_ARRAY, UNKNOWN, INT8, NUMERIC])


@given(
    st.lists(st.tuples(_OIDS, st.booleans()), min_size=1, max_size=5),
    st.lists(st.lists(_FIELDS, min_size=5, max_size=5), min_size=1, max_size=5),
    st.sampled_from(sorted(SECRETS)),
    st.sampled_from(list(TransformKind)),
    st.data(),
)
def test_a_planted_secret_never_survives(
    types: list[tuple[int, bool]], rows: list[Row], kind: str, transform: TransformKind,
    data: st.DataObject,
) -> None:  # fmt: skip
    """In a masked column whatever the type, and by content where its bytes are in the clear."""
    count = len(types)
    rows = [row[:count] for row in rows]
    at = data.draw(st.integers(0, count - 1))
    secret = SECRETS[kind].encode()
    rows[data.draw(st.integers(0, len(rows) - 1))][at] = b"x " + secret + b" y"
    by_column = data.draw(st.booleans())
    if by_column:
        plan = column(at, count, Transform(transform, "c"))
    else:
        plan = MaskPlan((None,) * count, kinds(transform=Transform(transform, "c")))
    rewriter = RowRewriter(plan, [o for o, _ in types], [int(b) for _, b in types], KEY)
    try:
        out = rewriter.rewrite(data_rows(*rows))
    except ProtocolViolation:
        return
    got = read_data_rows(out)
    assert secret not in out
    for before, after in zip(rows, got, strict=True):
        for index in range(count):
            if by_column and index != at:
                assert before[index] == after[index]


@given(st.binary(max_size=120), st.booleans(), st.booleans())
def test_no_bytes_break_the_rewriter(noise: bytes, binary: bool, framed: bool) -> None:
    frames = frame(b"D", noise) if framed else noise
    rewriter = RowRewriter(
        MaskPlan((FieldMask(REDACT, "r"), None), kinds()), [TEXT, UNKNOWN], [int(binary)] * 2
    )
    try:
        out = rewriter.rewrite(frames)
    except ProtocolViolation:
        return
    read_data_rows(out)


@given(st.binary(max_size=80))
def test_unknown_binary_values_can_be_searched(value: bytes) -> None:
    rewriter = RowRewriter(MaskPlan((None,), kinds()), [UNKNOWN], [1])
    [[out]] = read_data_rows(rewriter.rewrite(data_rows([value])))
    assert out in (None, value)


REAL_SECRETS = [
    "4111111111111111::int8", "4111111111111111::numeric", "4111111111111111.00::numeric(30,2)",
    "4111111111111111::float8", "4111111111111111::numeric::money", "array[4111111111111111]",
    "array[array['a'],array['jane@example.com']]", "row(1,'jane@example.com')",
    "row(row(4111111111111111))", "array[row(1,4111111111111111::numeric)]",
    "int8range(4111111111111111,null)", "numrange(1,4111111111111111)",
    "'jane@example.com'::bytea", "'jane@example.com'::text", "'jane@example.com'::char(30)",
    "'jane@example.com'::name", "'{\"a\":[\"jane@example.com\"]}'::json",
    "'{\"a\":4111111111111111}'::jsonb", "'203.0.113.77'::inet", "'203.0.113.0/24'::cidr",
    "array['203.0.113.77'::inet]", "to_tsvector('simple','jane@example.com')",
    "array['{\"a\":\"jane@example.com\"}'::jsonb]", "219099999", "2125550187::int8",
    "'$.\"jane@example.com\"'::jsonpath", "unistr('4111\\200b1111\\200b1111\\200b1111')",
]  # fmt: skip


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_real_values_of_every_type_are_found(pg: Server, binary: bool) -> None:
    with pg.connect() as connection:
        for expression in REAL_SECRETS:
            cursor = connection.cursor(binary=binary)
            cursor.execute(f"SELECT {expression}".encode())
            result = cursor.pgresult
            assert result is not None
            value = result.get_value(0, 0)
            assert value is not None
            plan = MaskPlan((None,), kinds())
            rewriter = RowRewriter(plan, [result.ftype(0)], [int(result.fformat(0))])
            [[out]] = read_data_rows(rewriter.rewrite(data_rows([value])))
            assert out != value, expression
            assert sum(rewriter.counts.kinds.values()) >= 1, expression
            assert out is None or b"jane" not in out, expression
