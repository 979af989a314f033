"""Masks of whole fields by type: vectors, and real values of real servers through psycopg."""

import struct
import uuid
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import Transformer
from psycopg.pq import Format

from taskgate.masking.plan import FieldMask, MaskPlan
from taskgate.masking.transforms import Hider
from taskgate.model.errors import ProtocolViolation
from taskgate.model.masks import Transform, TransformKind
from taskgate.protocols.postgres import scalars
from taskgate.protocols.postgres.rewrite import RowRewriter
from taskgate.protocols.postgres.shapes import Shape, shape_named, shape_of
from taskgate.protocols.postgres.values import fixed_or_op, format_of
from tests.protocols.postgres.rows import body, read_body
from tests.servers import Server

KEY = b"0123456789abcdef"
HIDER = Hider(KEY)


def masked(
    shape: Shape, binary: bool, kind: TransformKind, value: bytes, constant: str = ""
) -> bytes | None:
    mask = FieldMask(Transform(kind, constant), "r")
    found = fixed_or_op(mask, shape, binary, HIDER, "utf-8")
    return found(value) if callable(found) else found


REDACT, PARTIAL, HASH, NULL, CONSTANT = (
    TransformKind.REDACT,
    TransformKind.PARTIAL,
    TransformKind.HASH,
    TransformKind.NULL,
    TransformKind.CONSTANT,
)


@pytest.mark.parametrize(
    ("shape", "binary", "kind", "value", "constant", "expected"),
    [
        (Shape.TEXT, False, REDACT, b"jane", "", b"[masked]"),
        (Shape.TEXT, True, REDACT, b"jane", "", b"[masked]"),
        (Shape.TEXT, False, PARTIAL, b"jane@example.com", "", b"j***@e***.com"),
        (Shape.TEXT, False, PARTIAL, b"\xff\xfejane", "", b"[masked]"),
        (Shape.TEXT, False, CONSTANT, b"jane", "x", b"x"),
        (Shape.CHAR, False, REDACT, b"j", "", b"*"),
        (Shape.CHAR, False, HASH, b"j", "", None),
        (Shape.JSON, False, REDACT, b"{}", "", b'"[masked]"'),
        (Shape.JSON, False, PARTIAL, b"{}", "", b'"[masked]"'),
        (Shape.JSONB, True, REDACT, b"\x01{}", "", b'\x01"[masked]"'),
        (Shape.JSONB, True, CONSTANT, b"\x01{}", '{"a":1}', b'\x01{"a":1}'),
        (Shape.JSONB, False, CONSTANT, b"{}", "not json", b'"not json"'),
        (Shape.INT4, False, REDACT, b"7", "", None),
        (Shape.INT4, False, CONSTANT, b"7", "42", b"42"),
        (Shape.INT4, True, CONSTANT, b"\0\0\0\7", "42", b"\0\0\0\x2a"),
        (Shape.INT4, True, CONSTANT, b"\0\0\0\7", "x", None),
        (Shape.INT2, True, CONSTANT, b"\0\7", "40000", None),
        (Shape.INT2, True, HASH, b"\0\7", "", None),
        (Shape.INT8, True, CONSTANT, b"\0" * 8, "-1", b"\xff" * 8),
        (Shape.NUMERIC, False, CONSTANT, b"7", "1.50", b"1.50"),
        (Shape.NUMERIC, True, CONSTANT, b"", "nan", None),
        (Shape.FLOAT8, True, CONSTANT, b"", "0.5", struct.pack("!d", 0.5)),
        (Shape.FLOAT8, True, CONSTANT, b"", "inf", None),
        (Shape.BOOL, True, CONSTANT, b"\1", "no", b"\0"),
        (Shape.BOOL, False, REDACT, b"t", "", None),
        (Shape.UUID, False, CONSTANT, b"", "no uuid", None),
        (Shape.DATE, True, CONSTANT, b"", "2000-01-02", b"\0\0\0\1"),
        (Shape.DATE, False, PARTIAL, b"1980-02-03", "", None),
        (Shape.TIMESTAMP, False, CONSTANT, b"", "2000-01-02 03:04:05", b"2000-01-02 03:04:05"),
        (Shape.BYTEA, False, CONSTANT, b"", "ab", b"\\x6162"),
        (Shape.INET, True, CONSTANT, b"", "192.0.2.1", b"\x02\x20\x00\x04\xc0\x00\x02\x01"),
        (Shape.CIDR, False, CONSTANT, b"", "192.0.2.0/24", b"192.0.2.0/24"),
        (Shape.CIDR, False, CONSTANT, b"", "192.0.2.1/24", None),
        (Shape.OTHER, False, REDACT, b"{a,b}", "", None),
        (Shape.OTHER, True, HASH, b"\0\0\0\1", "", None),
        (Shape.OTHER, False, CONSTANT, b"{a}", "{}", None),
    ],
)
def test_vectors(
    shape: Shape, binary: bool, kind: TransformKind, value: bytes, constant: str,
    expected: bytes | None,
) -> None:  # fmt: skip
    assert masked(shape, binary, kind, value, constant) == expected


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("binary", [False, True])
def test_null_is_null_for_every_type(shape: Shape, binary: bool) -> None:
    assert masked(shape, binary, NULL, b"x") is None


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("kind", TransformKind)
@pytest.mark.parametrize("binary", [False, True])
def test_nothing_of_an_expression_is_kept(shape: Shape, kind: TransformKind, binary: bool) -> None:
    mask = FieldMask(Transform(kind, "hers"), "r", plain=False)
    found = fixed_or_op(mask, shape, binary, HIDER, "utf-8")
    assert found in (None, b"[masked]", b"*", b'"[masked]"', b'\x01"[masked]"')


@pytest.mark.parametrize(
    ("shape", "text", "binary"),
    [
        (Shape.INT4, b"1234567", struct.pack("!i", 1234567)),
        (Shape.INT8, b"-5", struct.pack("!q", -5)),
        (Shape.TEXT, "jürgen".encode(), "jürgen".encode()),
        (Shape.JSONB, b'{"a": 1}', b'\x01{"a": 1}'),
    ],
)
def test_a_hash_is_the_same_in_text_and_binary(shape: Shape, text: bytes, binary: bytes) -> None:
    from_text = masked(shape, False, HASH, text)
    from_binary = masked(shape, True, HASH, binary)
    assert from_text is not None
    assert from_binary is not None
    if shape in (Shape.INT4, Shape.INT8):
        assert int(from_text) == int.from_bytes(from_binary, "big") > 0
    else:
        assert from_binary.lstrip(b"\x01") == from_text


def test_a_uuid_hashes_to_a_uuid() -> None:
    value = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
    from_text = masked(Shape.UUID, False, HASH, str(value).encode())
    from_binary = masked(Shape.UUID, True, HASH, value.bytes)
    assert from_text is not None
    assert from_binary is not None
    stand_in = uuid.UUID(from_text.decode())
    assert stand_in.bytes == from_binary
    assert stand_in.version == 8
    assert stand_in != value


def test_a_bytea_hashes_alike_in_all_its_formats() -> None:
    from_hex = masked(Shape.BYTEA, False, HASH, b"\\x6100ff5c")
    from_escape = masked(Shape.BYTEA, False, HASH, b"a\\000\\377\\\\")
    from_binary = masked(Shape.BYTEA, True, HASH, b"a\0\xff\\")
    assert from_binary is not None
    assert from_hex == from_escape == b"\\x" + from_binary.hex().encode()


def test_values_that_the_database_calls_equal_hash_alike() -> None:
    text = masked(Shape.TEXT, False, HASH, b"jane")
    assert masked(Shape.TEXT_PADDED, False, HASH, b"jane    ") == text
    assert masked(Shape.TEXT_FOLDED, False, HASH, b"JANE") == text


def test_an_integer_of_the_wrong_size_ends_the_session() -> None:
    with pytest.raises(ProtocolViolation):
        masked(Shape.INT4, True, HASH, b"\0\7")
    with pytest.raises(ProtocolViolation):
        masked(Shape.UUID, True, HASH, b"\0\7")


def test_an_unknown_format_ends_the_session() -> None:
    with pytest.raises(ProtocolViolation):
        format_of(2)


def test_shapes_of_types() -> None:
    assert shape_of(25) is Shape.TEXT
    assert shape_of(99_999) is Shape.OTHER
    assert shape_named("citext") is Shape.TEXT_FOLDED
    assert shape_named("geometry") is Shape.OTHER


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20),
                   max_value=10**20) | st.integers(-(10**40), 10**40).map(Decimal))  # fmt: skip
def test_numerics_come_back_from_binary(value: Decimal) -> None:
    encoded = scalars.encode_numeric(str(value), binary=True)
    assert encoded is not None
    assert Decimal(scalars.numeric_text(encoded)) == value
    loader = Transformer().get_loader(1700, Format.BINARY)
    assert loader.load(encoded) == value


@given(st.binary(max_size=40))
def test_no_bytes_break_the_decoders(data: bytes) -> None:
    for decode in (scalars.numeric_text, scalars.inet_text):
        with suppress(ValueError):
            assert isinstance(decode(data), str)
    scalars.bytea_bytes(data)


# Real values: (SQL, what redact gives in Python)
REAL = [
    ("'jane'::text", "[masked]"),
    ("'jane'::varchar(4)", "[masked]"),
    ("'jane'::char(6)", "[masked]"),
    ("'jane'::name", "[masked]"),
    ("'j'::\"char\"", "*"),
    ("'{\"a\":1}'::json", "[masked]"),
    ("'{\"a\":1}'::jsonb", "[masked]"),
    ("7::int2", None),
    ("7::int4", None),
    ("7::int8", None),
    ("7::oid", None),
    ("7.5::float4", None),
    ("7.5::float8", None),
    ("7.50::numeric(10,2)", None),
    ("true", None),
    ("'550e8400-e29b-41d4-a716-446655440000'::uuid", None),
    ("'1980-02-03'::date", None),
    ("'1980-02-03 04:05:06'::timestamp", None),
    ("'1980-02-03 04:05:06+00'::timestamptz", None),
    ("'04:05:06'::time", None),
    ("'1 day'::interval", None),
    ("'\\x6a'::bytea", None),
    ("'192.0.2.1'::inet", None),
    ("'192.0.2.0/24'::cidr", None),
    ("array['jane','x']", None),
    ("array[1,2]", None),
    ("int4range(1,5)", None),
    ("row(1,'jane')", None),
]
CONSTANTS = [
    ("1::int2", "42", 42),
    ("1::int4", "42", 42),
    ("1::int8", "42", 42),
    ("1::oid", "42", 42),
    ("1::numeric", "-12345.6789", Decimal("-12345.6789")),
    ("1::numeric", "0.00010000", Decimal("0.00010000")),
    ("1::float8", "0.25", 0.25),
    ("true", "false", False),
    (
        "'550e8400-e29b-41d4-a716-446655440000'::uuid",
        "00000000-0000-0000-0000-000000000000",
        uuid.UUID(int=0),
    ),
    ("now()::date", "1970-01-01", date(1970, 1, 1)),
    ("now()::timestamp", "1970-01-01 01:02:03.5", datetime(1970, 1, 1, 1, 2, 3, 500000)),
    ("'\\x6a'::bytea", "\\x6162", b"ab"),
    ("'{}'::jsonb", '{"a": [1]}', {"a": [1]}),
    ("'x'::text", "hidden", "hidden"),
]


def _through_psycopg(
    connection: "psycopg.Connection[tuple[object, ...]]", expression: str, binary: bool,
    transform: Transform,
) -> object:  # fmt: skip
    """The real value of `expression`, masked as a whole field, as psycopg then reads it."""
    cursor = connection.cursor(binary=binary)
    cursor.execute(f"SELECT {expression}".encode())
    result = cursor.pgresult
    assert result is not None
    oid, code = result.ftype(0), int(result.fformat(0))
    plan = MaskPlan((FieldMask(transform, "r"),))
    rewriter = RowRewriter(plan, [oid], [code], KEY)
    [value] = read_body(rewriter.rewrite_row(body([result.get_value(0, 0)])))
    assert rewriter.counts.rules == {"r": 1}
    if value is None:
        return None
    return connection.adapters.get_loader(oid, Format(code))(oid, connection).load(value)  # type: ignore[misc]


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_drivers_still_decode_what_redact_leaves(pg: Server, binary: bool) -> None:
    with pg.connect() as connection:
        for expression, expected in REAL:
            got = _through_psycopg(connection, expression, binary, Transform(REDACT))
            if isinstance(got, bytes):
                got = got.decode()
            assert got == expected, expression


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_drivers_still_decode_constants(pg: Server, binary: bool) -> None:
    with pg.connect() as connection:
        for expression, constant, expected in CONSTANTS:
            got = _through_psycopg(connection, expression, binary, Transform(CONSTANT, constant))
            assert got == expected, expression


HASHED = [
    "'jane'::text", "7::int4", "7::int8", "'\\x6a00'::bytea", "'{\"a\":1}'::jsonb",
    "'550e8400-e29b-41d4-a716-446655440000'::uuid",
]  # fmt: skip


def test_hashes_join_whatever_the_format(pg: Server) -> None:
    with pg.connect() as connection:
        for expression in HASHED:
            text, binary = (
                _through_psycopg(connection, expression, binary, Transform(HASH))
                for binary in (False, True)
            )
            assert text == binary
            assert text is not None
