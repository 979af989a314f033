"""COPY streams under plans: vectors at every split, dialects, and real streams of real servers."""

import struct

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.masking.detectors import KINDS
from taskgate.masking.plan import FieldMask, MaskPlan
from taskgate.model.errors import OverLimit, ProtocolViolation, Unreadable
from taskgate.model.limits import MAX_MASKED_ROW_BYTES
from taskgate.model.masks import KindMask, Transform, TransformKind
from taskgate.protocols.postgres.copy_rows import CopyFormat, CopyRewriter
from tests.masking.samples import SECRETS
from tests.protocols.postgres.rows import Row, body, frame, read_frames
from tests.servers import Server

REDACT = Transform(TransformKind.REDACT)
TEXT, INT4 = 25, 23
HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

COPY_TEXT, COPY_CSV, COPY_BINARY = CopyFormat("text"), CopyFormat("csv"), CopyFormat("binary")


def column(at: int, count: int, transform: Transform = REDACT) -> MaskPlan:
    return MaskPlan(tuple(FieldMask(transform, "r") if i == at else None for i in range(count)))


def kinds(count: int, transform: Transform = REDACT) -> MaskPlan:
    return MaskPlan((None,) * count, tuple(KindMask(k, transform, f"kind-{k}") for k in KINDS))


def copied(plan: MaskPlan, layout: CopyFormat, stream: bytes, *, split: int | None = None) -> bytes:
    """The stream rewritten, in two pieces if `split` says where."""
    rewriter = CopyRewriter(plan, layout, [TEXT] * len(plan.fields))
    pieces = [stream] if split is None else [stream[:split], stream[split:]]
    out = b"".join(rewriter.feed(piece) for piece in pieces)
    return out + rewriter.finish()


VECTORS = [
    (COPY_TEXT, column(1, 3), b"1\tjane\tx\n2\t\\N\ty\n", b"1\t[masked]\tx\n2\t\\N\ty\n"),
    (COPY_TEXT, column(1, 2), b"a\\\tb\tjane\\nd\n\\\\\tx\n",
     b"a\\\tb\t[masked]\n\\\\\t[masked]\n"),
    (COPY_TEXT, column(0, 1), b"\n\\N\n", b"[masked]\n\\N\n"),
    (COPY_TEXT, kinds(2), b"a\tjane\\\\u0040e.com\nb\tc\n", b"a\t[masked:email]\nb\tc\n"),
    (COPY_TEXT, kinds(1), b"x\\tjane@e.com\\n\n", b"x\\t[masked:email]\\n\n"),
    (CopyFormat("text", delimiter="|", null="-"), column(0, 2), b"-|x\na\\|b|-\n",
     b"[masked]|x\n[masked]|-\n"),
    (CopyFormat("text", null="jane"), column(0, 1), b"jane\nx\n", b"[masked]\n[masked]\n"),
    (CopyFormat("text", delimiter="@"), kinds(1), b"jane\\@e.com\n", b"[masked:email]\n"),
    (CopyFormat("text", delimiter="-"), kinds(1), b"4111\\-1111\\-1111\\-1111\n",
     b"[masked:credit_card]\n"),
    (CopyFormat("text", header=True), column(0, 1), b"email\njane\n", b"email\n[masked]\n"),
    (COPY_CSV, column(1, 3), b'1,jane,x\n2,,"y"\n3,"",z\n',
     b'1,[masked],x\n2,,"y"\n3,[masked],z\n'),
    (COPY_CSV, column(1, 2), b'"a,""b\n",jane\nx,"j\n,\n"\n', b'"a,""b\n",[masked]\nx,[masked]\n'),
    (COPY_CSV, kinds(2), b'"x, jane@e.com\n",y\n', b'"x, [masked:email]\n",y\n'),
    (COPY_CSV, kinds(1), b'"{""a"": ""jane@e.com""}"\n', b'"{""a"": ""[masked:email]""}"\n'),
    (CopyFormat("csv", header=True), column(0, 1), b'"e\n,mail"\njane\n',
     b'"e\n,mail"\n[masked]\n'),
    (CopyFormat("csv", quote="'", escape="\\", delimiter=";"), column(0, 2),
     b"'a\\'b;\\\\';'it\\'s'\nx;y\n", b"[masked];'it\\'s'\n[masked];y\n"),
    (CopyFormat("csv", quote="1"), kinds(1), b"14" + b"11" * 15 + b"1\nx\n",
     b"[masked:credit_card]\nx\n"),
    (CopyFormat("csv", null="NIL"), column(0, 2), b'NIL,"NIL"\n"NIL",x\n',
     b'NIL,"NIL"\n[masked],x\n'),
    (COPY_BINARY, column(1, 2), HEAD + body([b"1", b"jane"]) + body([None, None]) + TRAILER,
     HEAD + body([b"1", b"[masked]"]) + body([None, None]) + TRAILER),
    (COPY_BINARY, kinds(1), HEAD + body([b"x jane@e.com"]) + TRAILER,
     HEAD + body([b"x [masked:email]"]) + TRAILER),
    (COPY_BINARY, kinds(3), HEAD + body([b"a@b.de", b"x", b"c@d.de"]) + body([b"y", None, b""])
     + body([b"z", b"e@f.de", b"x"]) + TRAILER,
     HEAD + body([b"[masked:email]", b"x", b"[masked:email]"]) + body([b"y", None, b""])
     + body([b"z", b"[masked:email]", b"x"]) + TRAILER),
    (COPY_BINARY, column(0, 1), HEAD + TRAILER, HEAD + TRAILER),
    (COPY_BINARY, column(0, 1), HEAD[:15] + b"\0\0\0\3abc" + body([b"x"]) + TRAILER,
     HEAD[:15] + b"\0\0\0\3abc" + body([b"[masked]"]) + TRAILER),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "plan", "stream", "expected"), VECTORS)
def test_vectors_at_every_split(
    layout: CopyFormat, plan: MaskPlan, stream: bytes, expected: bytes
) -> None:
    assert copied(plan, layout, stream) == expected
    for split in range(len(stream) + 1):
        assert copied(plan, layout, stream, split=split) == expected
    rewriter = CopyRewriter(plan, layout, [TEXT] * len(plan.fields))
    assert b"".join(rewriter.feed(stream[i : i + 1]) for i in range(len(stream))) == expected


def test_a_guess_in_the_null_option_confirms_nothing() -> None:
    """COPY ... (NULL 'jane') writes the value jane and NULL alike: both are masked."""
    out = copied(column(0, 1), CopyFormat("text", null="jane"), b"jane\nmary\n")
    assert out == b"[masked]\n[masked]\n"


def test_types_that_cannot_be_redacted_become_null() -> None:
    rewriter = CopyRewriter(column(0, 2), COPY_TEXT, [INT4, TEXT])
    assert rewriter.feed(b"17\tx\n") == b"\\N\tx\n"
    rewriter = CopyRewriter(column(0, 2), COPY_CSV, [0, TEXT])
    assert rewriter.feed(b"17,x\n") == b",x\n"
    rewriter = CopyRewriter(column(0, 1), COPY_BINARY, [INT4])
    assert rewriter.feed(HEAD + body([b"\0\0\0\7"])) == HEAD + body([None])


@pytest.mark.parametrize(
    ("layout", "stream"),
    [
        (COPY_TEXT, b"jane\n"),
        (COPY_TEXT, b"jane\tx\ty\n"),
        (COPY_TEXT, b"jane\tx\\\n"),
        (COPY_TEXT, b"\n"),
        (COPY_CSV, b"jane\n"),
        (COPY_CSV, b'jane,"x","y"\n'),
        (COPY_CSV, b'"jane"x,y\n'),
        (COPY_BINARY, b"PGCOPX"),
        (COPY_BINARY, HEAD[:11] + b"\0\1\0\0\0\0\0\0" + TRAILER),
        (COPY_BINARY, HEAD[:11] + b"\0\0\0\0\xff\xff\xff\xff"),
        (COPY_BINARY, HEAD + body([b"jane"])),
        (COPY_BINARY, HEAD + body([b"jane", b"x", b"y"])),
        (COPY_BINARY, HEAD + b"\0\2\xff\xff\xff\xfe"),
        (COPY_BINARY, HEAD + TRAILER + b"x"),
        (COPY_BINARY, HEAD + TRAILER + body([b"jane", b"x"])),
    ],
)
def test_what_is_no_such_stream_ends_it_and_leaks_nothing(
    layout: CopyFormat, stream: bytes
) -> None:
    for split in range(len(stream) + 1):
        rewriter = CopyRewriter(column(0, 2), layout, [TEXT, TEXT])
        out: list[bytes] = []
        with pytest.raises(ProtocolViolation):
            out.extend(map(rewriter.feed, (stream[:split], stream[split:])))
        assert b"jane" not in b"".join(out)
        with pytest.raises(ProtocolViolation):
            rewriter.feed(b"a\tb\n")
        with pytest.raises(ProtocolViolation):
            rewriter.finish()


@pytest.mark.parametrize(
    ("layout", "stream"),
    [
        (COPY_TEXT, b"jane\tx"),
        (COPY_CSV, b'"jane\n'),
        (COPY_BINARY, b""),
        (COPY_BINARY, HEAD),
        (COPY_BINARY, HEAD + body([b"a", b"b"])),
        (COPY_BINARY, HEAD + body([b"a", b"b"])[:-1]),
    ],
)
def test_a_stream_that_ends_within_a_row_is_an_error(layout: CopyFormat, stream: bytes) -> None:
    rewriter = CopyRewriter(column(0, 2), layout, [TEXT, TEXT])
    rewriter.feed(stream)
    with pytest.raises(ProtocolViolation):
        rewriter.finish()


@pytest.mark.parametrize(
    "layout",
    [
        CopyFormat("text", encoding="SJIS"),
        CopyFormat("csv", encoding="big5"),
        CopyFormat("csv", encoding="GB18030"),
        CopyFormat("csv", delimiter='"'),
        CopyFormat("text", delimiter="\\"),
        CopyFormat("text", delimiter="n"),
        CopyFormat("text", delimiter="||"),
        CopyFormat("text", delimiter="ä"),
        CopyFormat("text", null="a\nb"),
        CopyFormat("csv", null='"x'),
        CopyFormat("json"),
    ],
)
def test_a_layout_that_cannot_be_read_is_refused(layout: CopyFormat) -> None:
    with pytest.raises(Unreadable):
        CopyRewriter(column(0, 1), layout, [TEXT])


@pytest.mark.parametrize("layout", [COPY_TEXT, COPY_CSV, COPY_BINARY])
def test_a_row_too_long_to_be_masked_is_refused(layout: CopyFormat) -> None:
    rewriter = CopyRewriter(column(0, 1), layout, [TEXT])
    stream = b"x" * (MAX_MASKED_ROW_BYTES + 1)
    if layout is COPY_BINARY:
        stream = HEAD + struct.pack("!hi", 1, MAX_MASKED_ROW_BYTES + 5)
    with pytest.raises(OverLimit):
        rewriter.feed(stream)


def test_frames_keep_their_rows() -> None:
    rewriter = CopyRewriter(column(0, 1), COPY_TEXT, [TEXT])
    frames = (
        frame(b"d", b"jane\n") + frame(b"d", b"ma") + frame(b"d", b"ry\n") + frame(b"d", b"\\N\n")
    )
    assert read_frames(rewriter.rewrite(frames), b"d") == [b"[masked]\n", b"[masked]\n", b"\\N\n"]
    assert rewriter.finish() == b""
    assert rewriter.counts.rules == {"r": 2}


def test_clean_frames_are_the_same_object() -> None:
    frames = frame(b"d", b"a\tb\n") + frame(b"d", b"c\t\\N\n")
    assert CopyRewriter(kinds(2), COPY_TEXT, [TEXT] * 2).rewrite(frames) is frames


@pytest.mark.parametrize("frames", [b"c\0\0\0\4", b"d\0\0\0\3", b"d\0\0", frame(b"d", b"x\n")[:-1]])
def test_other_frames_among_the_rows_end_the_session(frames: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        CopyRewriter(kinds(1), COPY_TEXT, [TEXT]).rewrite(frames)


_VALUES = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
                              max_size=12)  # fmt: skip


def _as_text(row: list[str | None]) -> bytes:
    escapes = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
               "\v": "\\v"}  # fmt: skip
    fields = ["\\N" if v is None else "".join(escapes.get(c, c) for c in v) for v in row]
    return "\t".join(fields).encode() + b"\n"


def _as_csv(row: list[str | None]) -> bytes:
    fields = ["" if v is None else '"' + v.replace('"', '""') + '"' for v in row]
    return ",".join(fields).encode() + b"\n"


def _as_binary(row: list[str | None]) -> bytes:
    encoded: Row = [None if v is None else v.encode() for v in row]
    return body(encoded)


_WRITERS = {
    "text": (COPY_TEXT, b"", _as_text, b""),
    "csv": (COPY_CSV, b"", _as_csv, b""),
    "binary": (COPY_BINARY, HEAD, _as_binary, TRAILER),
}


@given(
    st.sampled_from(sorted(_WRITERS)),
    st.lists(st.lists(_VALUES, min_size=3, max_size=3), max_size=5),
    st.sampled_from(sorted(SECRETS)),
    st.booleans(),
    st.sampled_from(list(TransformKind)),
    st.data(),
)
def test_a_planted_secret_never_survives(
    kind: str, rows: list[list[str | None]], secret_kind: str, by_column: bool,
    transform: TransformKind, data: st.DataObject,
) -> None:  # fmt: skip
    layout, head, write, trailer = _WRITERS[kind]
    secret = SECRETS[secret_kind]
    rows.insert(data.draw(st.integers(0, len(rows))), ["a", f"x {secret} y", None])
    stream = head + b"".join(map(write, rows)) + trailer
    chosen = Transform(transform, "c")
    plan = column(1, 3, chosen) if by_column else kinds(3, chosen)
    rewriter = CopyRewriter(plan, layout, [TEXT] * 3, b"0123456789abcdef")
    out = b""
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        out += rewriter.feed(stream[:size])
        stream = stream[size:]
    out += rewriter.finish()
    assert secret.encode() not in out
    assert write([secret])[:-1] not in out
    if by_column:
        untouched = [(row[0], row[2]) for row in rows]
        assert [(row[0], row[2]) for row in _parsed(kind, out)] == untouched


def _parsed(kind: str, out: bytes) -> list[list[str | None]]:
    """The rows of a stream, read by other code than the gate's."""
    if kind == "csv":
        return _csv_by_hand(out.decode())
    if kind == "text":
        names = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
        parsed: list[list[str | None]] = []
        for line in out.decode().split("\n")[:-1]:
            row: list[str | None] = []
            for field in line.split("\t"):
                if field == "\\N":
                    row.append(None)
                    continue
                value, at = "", 0
                while at < len(field):
                    if field[at] == "\\":
                        value += names[field[at + 1]]
                        at += 2
                    else:
                        value += field[at]
                        at += 1
                row.append(value)
            parsed.append(row)
        return parsed
    rows_out: list[list[str | None]] = []
    at = len(HEAD)
    while out[at : at + 2] != TRAILER:
        at += 2
        fields: list[str | None] = []
        for _ in range(3):
            (size,) = struct.unpack_from("!i", out, at)
            at += 4
            fields.append(None if size < 0 else out[at : at + size].decode("utf-8", "replace"))
            at += max(size, 0)
        rows_out.append(fields)
    return rows_out


def _csv_by_hand(text: str) -> list[list[str | None]]:
    rows: list[list[str | None]] = []
    row: list[str | None] = []
    at = 0
    while at < len(text):
        value: str | None = None
        if text[at] == '"':
            value = ""
            at += 1
            while not (text[at] == '"' and text[at + 1 : at + 2] != '"'):
                value += text[at]
                at += 2 if text[at] == '"' else 1
            at += 1
        else:
            while text[at] not in ",\n":
                value = (value or "") + text[at]
                at += 1
        row.append(value)
        if text[at] == "\n":
            rows.append(row)
            row = []
        at += 1
    return rows


@given(st.sampled_from(sorted(_WRITERS)), st.lists(st.lists(_VALUES, min_size=2, max_size=2)))
def test_an_empty_plan_is_identity(kind: str, rows: list[list[str | None]]) -> None:
    layout, head, write, trailer = _WRITERS[kind]
    stream = head + b"".join(map(write, rows)) + trailer
    assert copied(MaskPlan((None, None)), layout, stream) == stream


@given(st.binary(max_size=200), st.sampled_from(sorted(_WRITERS)), st.integers(1, 20))
def test_no_bytes_break_the_parser(noise: bytes, kind: str, size: int) -> None:
    layout, head, _, _ = _WRITERS[kind]
    rewriter = CopyRewriter(column(0, 2), layout, [TEXT] * 2)
    try:
        for at in range(0, len(noise), size):
            rewriter.feed((head if at == 0 else b"") + noise[at : at + size])
        rewriter.finish()
    except ProtocolViolation:
        pass


SETUP = """
CREATE TABLE people (id int, email text, note text);
INSERT INTO people VALUES
  (1, 'jane@example.com', E'tab\\t, newline\\n, back\\\\slash, "quote"'),
  (2, NULL, ''),
  (3, E'a\\n"b",c\\\\@x.de', NULL),
  (4, '\\.', E'\\r\\b\\f\\v'),
  (5, '', 'card 4111 1111 1111 1111');
"""
LAYOUTS = [
    ("", COPY_TEXT),
    ("(DELIMITER '|', NULL 'nil')", CopyFormat("text", delimiter="|", null="nil")),
    ("(FORMAT csv)", COPY_CSV),
    ("(FORMAT csv, HEADER, FORCE_QUOTE *)", CopyFormat("csv", header=True)),
    ("(FORMAT csv, QUOTE '''', ESCAPE '\\', DELIMITER ';', NULL 'nil')",
     CopyFormat("csv", quote="'", escape="\\", delimiter=";", null="nil")),
    ("(FORMAT binary)", COPY_BINARY),
]  # fmt: skip


@pytest.mark.parametrize(("options", "layout"), LAYOUTS)
def test_real_streams_masked_load_back_into_the_server(
    pg: Server, database: str, options: str, layout: CopyFormat
) -> None:
    """COPY out, mask, COPY in again: the masked column alone has changed."""
    with pg.connect(database) as connection:
        for statement in SETUP.split(";\n"):
            connection.execute(statement.encode())
        plan = MaskPlan((None, FieldMask(REDACT, "r"), None), kinds(0).kinds)
        rewriter = CopyRewriter(plan, layout, [INT4, TEXT, TEXT])
        payloads = []
        with connection.cursor().copy(f"COPY people TO STDOUT {options}".encode()) as copy:
            payloads = [rewriter.feed(bytes(block)) for block in copy]
        payloads.append(rewriter.finish())
        connection.execute("CREATE TABLE masked (LIKE people)")
        back = options.replace(", FORCE_QUOTE *", "")
        with connection.cursor().copy(f"COPY masked FROM STDIN {back}".encode()) as copy:
            for payload in payloads:
                copy.write(payload)
        rows = _rows(connection, "masked")
        original = _rows(connection, "people")
    ambiguous = layout.kind == "text" and layout.null is not None
    assert [row[1] for row in rows] == [
        "[masked]",
        "[masked]" if ambiguous else None,
        "[masked]",
        "[masked]",
        "[masked]",
    ]
    assert [row[2] for row in rows[:4]] == [row[2] for row in original[:4]]
    assert rows[4][2] == "card [masked:credit_card]"


def _rows(
    connection: "psycopg.Connection[tuple[object, ...]]", table: str
) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT * FROM {table} ORDER BY id".encode()).fetchall()
