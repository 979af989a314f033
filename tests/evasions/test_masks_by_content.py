"""A task hides values of some kinds: however they are asked for, they do not arrive.

Each case is a query of a real server, its rows rewritten as the gate rewrites them, in both
formats and by COPY.
"""

from collections.abc import Iterator

import pytest

from taskgate.masking.detectors import KINDS
from taskgate.masking.plan import FieldOrigin, MaskPlan, plan_fields
from taskgate.model.masks import (
    ColumnMask,
    Compared,
    KindMask,
    MaskSet,
    Transform,
    TransformKind,
)
from taskgate.protocols.postgres.copy_rows import CopyFormat, CopyRewriter
from taskgate.protocols.postgres.rewrite import RowRewriter
from tests.protocols.postgres.reports import Connection
from tests.protocols.postgres.rows import data_rows, read_data_rows
from tests.servers import Server

REDACT = Transform(TransformKind.REDACT)
ALL_KINDS = tuple(KindMask(kind, REDACT, f"task/mask[0] {kind}") for kind in KINDS)
CARD, MAIL = "4111111111111111", "jane@example.com"
SETUP = (
    "CREATE TABLE people (id int, mail text, card text, number int8, doc jsonb)",
    f"INSERT INTO people VALUES (1, '{MAIL}', '{CARD}', {CARD}, "
    f'\'{{"mail": "{MAIL}", "card": {CARD}}}\')',
)
QUERIES = [
    "SELECT * FROM people", "SELECT people FROM people", "SELECT p.mail AS id FROM people p",
    "SELECT mail::varchar(30), mail::char(40), mail::name, mail::bytea FROM people",
    "SELECT 'x' || mail || 'y@z' FROM people", "SELECT upper(mail), initcap(mail) FROM people",
    "SELECT string_agg(mail, ', ') FROM people", "SELECT array_agg(mail) FROM people",
    "SELECT array_agg(number) FROM people", "SELECT array_agg(people) FROM people",
    "SELECT json_agg(people) FROM people", "SELECT row_to_json(people) FROM people",
    "SELECT jsonb_build_object(mail, card) FROM people", "SELECT to_jsonb(number) FROM people",
    "SELECT doc, doc->'mail', doc->>'card' FROM people", "SELECT doc::text FROM people",
    "SELECT row(id, row(mail, number)) FROM people", "SELECT format('%L', mail) FROM people",
    "SELECT quote_literal(mail), quote_ident(mail) FROM people",
    "SELECT number::numeric, number::numeric(30,5), number::text FROM people",
    "SELECT number::float8, -number, number::money FROM people",
    "SELECT int8range(number, number + 1) FROM people", "SELECT mail::tsvector FROM people",
    "SELECT regexp_replace(card, '(....)', '\\1 ', 'g') FROM people",
    "SELECT regexp_replace(card, '(....)', '\\1-', 'g') FROM people",
    "SELECT replace(mail, '@', U&'\\FF20') FROM people",
    "SELECT replace(mail, '@', '&#64;') FROM people",
    "SELECT replace(mail, '@', '\\u0040') FROM people",
    "SELECT replace(mail, '@', U&'@\\200B') FROM people",
    "SELECT translate(card, '0123456789', U&'\\FF10\\FF11\\FF12\\FF13\\FF14\\FF15') FROM people",
    "SELECT mail FROM people UNION ALL SELECT card FROM people",
    "SELECT max(mail) OVER () FROM people", "SELECT CASE WHEN true THEN mail END FROM people",
    "SELECT coalesce(NULL, mail), greatest(mail, ''), nullif(mail, '') FROM people",
    "SELECT unnest(ARRAY[mail, card]) FROM people",
    "SELECT ARRAY[ARRAY[mail], ARRAY[card]] FROM people",
    "SELECT E'\\n\\t\"' || mail || E'\"\\n' FROM people",
    "INSERT INTO people SELECT * FROM people RETURNING *",
    "UPDATE people SET id = 2 RETURNING mail, people", "DELETE FROM people RETURNING card",
]  # fmt: skip
# What no look at the result can tell: whoever reads it must be kept from it by a column mask.
BEYOND_CONTENT = [
    "reverse(mail)", "encode(mail::bytea, 'base64')", "encode(mail::bytea, 'hex')",
    "left(mail, 5)", "ascii(mail)", "length(mail)", "md5(mail)", "number / 10", "card::int8 + 1",
    "regexp_split_to_table(card, '')", "mail LIKE 'j%'", "translate(mail, 'abcdej', 'bcdefk')",
]  # fmt: skip


@pytest.fixture(scope="module")
def connection(pg: Server) -> Iterator[Connection]:
    name = pg.new_database("masks_by_content")
    with pg.connect(name) as opened:
        for statement in SETUP:
            opened.execute(statement.encode())
        yield opened
    pg.drop_database(name)


def rewritten(connection: Connection, query: str, plan: MaskPlan | None, binary: bool) -> bytes:
    """The rows of `query` as frames, as the gate would pass them on."""
    with connection.transaction(force_rollback=True):
        cursor = connection.cursor(binary=binary)
        cursor.execute(query.encode())
        result = cursor.pgresult
    assert result is not None
    assert result.ntuples > 0
    count = result.nfields
    rewriter = RowRewriter(
        plan or MaskPlan((None,) * count, ALL_KINDS),
        [result.ftype(at) for at in range(count)],
        [int(result.fformat(at)) for at in range(count)],
    )
    rows = [[result.get_value(r, at) for at in range(count)] for r in range(result.ntuples)]
    out = rewriter.rewrite(data_rows(*rows))
    assert rewriter.counts, "nothing was hidden: the case is no case"
    return b"".join(value or b"" for row in read_data_rows(out) for value in row)


def assert_gone(out: bytes) -> None:
    """Neither value is left, whatever is put between its characters."""
    text = out.decode("utf-8", "replace").lower()
    for cover in ("\uff20", "&#64;", "\\u0040", "@\u200b", " at "):
        text = text.replace(cover, "@")
    assert "jane@" not in text
    assert "4111" not in text.replace("\uff11", "1").replace("\uff14", "4")
    assert int(CARD).to_bytes(8, "big") not in out
    assert (-int(CARD)).to_bytes(8, "big", signed=True) not in out


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_masked_in_rows(connection: Connection, query: str, binary: bool) -> None:
    assert_gone(rewritten(connection, query, None, binary))


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("kind", ["text", "csv", "binary"])
def test_masked_in_copy(connection: Connection, query: str, kind: str) -> None:
    with connection.transaction(force_rollback=True):
        cursor = connection.cursor()
        cursor.execute(query.encode())
        result = cursor.pgresult
        assert result is not None
        oids = [result.ftype(at) for at in range(result.nfields)]
    with connection.transaction(force_rollback=True):
        rewriter = CopyRewriter(MaskPlan((None,) * len(oids), ALL_KINDS), CopyFormat(kind), oids)
        with connection.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT {kind})".encode()) as copy:
            out = b"".join(rewriter.feed(bytes(block)) for block in copy)
        out += rewriter.finish()
    assert_gone(out)


@pytest.mark.parametrize("expression", BEYOND_CONTENT)
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_a_column_mask_hides_whatever_is_made_of_the_column(
    connection: Connection, expression: str, binary: bool
) -> None:
    masks = MaskSet(
        tuple(
            ColumnMask(
                "public.people", column, Transform(TransformKind.PARTIAL), Compared.DENY, "m"
            )
            for column in ("mail", "card", "number")
        )
    )
    sources = frozenset(
        ("public.people", column) for column in ("mail", "card", "number") if column in expression
    )
    plan = plan_fields([FieldOrigin(sources)], masks)
    query = f"SELECT {expression} FROM people"
    assert rewritten(connection, query, plan, binary).replace(b"[masked]", b"") == b""
