"""Encoder, decoder and hex of each message in one table; and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.errors import Denied, ProtocolViolation, TaskgateError
from taskgate.protocols.postgres import messages as m
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.errors import Severity, encode_error, encode_notice
from taskgate.protocols.postgres.reader import BadText

Parse = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]

# name: (parse, encode, value, hex). PostgreSQL documentation, "Message Formats".
TABLE: dict[str, tuple[Parse, Encode, Any, str]] = {
    "query": (
        m.parse_query,
        lambda v: m.encode_query(v.text),
        m.Query("SELECT 1"),
        "51 0000000d 53454c454354203100",
    ),
    "query in utf-8": (
        m.parse_query,
        lambda v: m.encode_query(v.text),
        m.Query("é€😀"),
        "51 0000000e c3a9 e282ac f09f9880 00",
    ),
    "empty query": (m.parse_query, lambda v: m.encode_query(v.text), m.Query(""), "51 00000005 00"),
    "parse": (
        m.parse_parse,
        m.encode_parse,
        m.Parse("s1", "SELECT $1", (23, 0)),
        "50 0000001b 733100 53454c45435420243100 0002 00000017 00000000",
    ),
    "parse of a high oid": (
        m.parse_parse,
        m.encode_parse,
        m.Parse("", "", (0xFFFFFFFF,)),
        "50 0000000c 00 00 0001 ffffffff",
    ),
    "bind": (
        m.parse_bind,
        m.encode_bind,
        m.Bind("p", "s", (1, 0), (b"\0\0\0\7", None), (1,)),
        "42 00000020 7000 7300 0002 0001 0000 0002 00000004 00000007 ffffffff 0001 0001",
    ),
    "bind of nothing": (
        m.parse_bind,
        m.encode_bind,
        m.Bind("", ""),
        "42 0000000c 00 00 0000 0000 0000",
    ),
    "bind of an empty value": (
        m.parse_bind,
        m.encode_bind,
        m.Bind("", "", (), (b"",), ()),
        "42 00000010 00 00 0000 0001 00000000 0000",
    ),
    "describe": (
        m.parse_describe,
        lambda v: m.encode_describe(v.kind, v.name),
        m.Describe(m.STATEMENT, "s1"),
        "44 00000008 53 733100",
    ),
    "close": (
        m.parse_close,
        lambda v: m.encode_close(v.kind, v.name),
        m.Close(m.PORTAL, ""),
        "43 00000006 50 00",
    ),
    "execute": (
        m.parse_execute,
        lambda v: m.encode_execute(v.portal, v.max_rows),
        m.Execute("p", 100),
        "45 0000000a 7000 00000064",
    ),
    "function call": (
        m.parse_function_call,
        m.encode_function_call,
        m.FunctionCall(1299, (1,), (b"\1", None), 1),
        "46 00000019 00000513 0001 0001 0002 00000001 01 ffffffff 0001",
    ),
    "copy fail": (m.parse_copy_fail, m.encode_copy_fail, "no", "66 00000007 6e6f00"),
    "row description": (
        m.parse_row_description,
        m.encode_row_description,
        (m.Field("id", 16384, 1, 23, 4, -1, 0), m.Field("?column?", 0, 0, 25, -1, -1, 1)),
        "54 00000036 0002 696400 00004000 0001 00000017 0004 ffffffff 0000"
        " 3f636f6c756d6e3f00 00000000 0000 00000019 ffff ffffffff 0001",
    ),
    "no columns": (
        m.parse_row_description,
        m.encode_row_description,
        (),
        "54 00000006 0000",
    ),
    "data row": (
        m.parse_data_row,
        m.encode_data_row,
        (b"1", None, b""),
        "44 00000013 0003 00000001 31 ffffffff 00000000",
    ),
    "parameter description": (
        m.parse_parameter_description,
        m.encode_parameter_description,
        (23, 25),
        "74 0000000e 0002 00000017 00000019",
    ),
    "command complete": (
        m.parse_command_complete,
        lambda v: m.encode_command_complete(v.tag),
        m.CommandComplete("INSERT 0 5", 5),
        "43 0000000f 494e53455254203020 3500",
    ),
    "command without a number": (
        m.parse_command_complete,
        lambda v: m.encode_command_complete(v.tag),
        m.CommandComplete("BEGIN", None),
        "43 0000000a 424547494e00",
    ),
    "ready": (m.parse_ready_for_query, m.encode_ready_for_query, "T", "5a 00000005 54"),
    "parameter status": (
        m.parse_parameter_status,
        lambda v: m.encode_parameter_status(*v),
        ("TimeZone", "UTC"),
        "53 00000011 54696d655a6f6e6500 55544300",
    ),
    "notification": (
        m.parse_notification,
        m.encode_notification,
        m.Notification(42, "c", "p"),
        "41 0000000c 0000002a 6300 7000",
    ),
    "copy in": (
        m.parse_copy_response,
        lambda v: m.encode_copy_response(tags.COPY_IN_RESPONSE, v),
        m.CopyResponse(1, (1, 1)),
        "47 0000000b 01 0002 0001 0001",
    ),
    "error": (
        m.parse_report,
        lambda v: m.encode_report(tags.ERROR_RESPONSE, v.fields),
        m.ServerReport((("S", "ERROR"), ("C", "42501"), ("M", "no"))),
        "45 00000017 53 4552524f5200 43 343235303100 4d 6e6f00 00",
    ),
}
ROWS_OF_TABLE = list(TABLE.values())


@pytest.mark.parametrize(("parse", "encode", "value", "text"), ROWS_OF_TABLE, ids=list(TABLE))
class TestTable:
    def test_encodes(self, parse: Parse, encode: Encode, value: object, text: str) -> None:
        assert encode(value).hex() == bytes.fromhex(text).hex()

    def test_decodes(self, parse: Parse, encode: Encode, value: object, text: str) -> None:
        assert bytes.fromhex(text) == relength(bytes.fromhex(text)), "the table itself"
        assert parse(bytes.fromhex(text)) == value

    def test_one_byte_more_is_refused(
        self, parse: Parse, encode: Encode, value: object, text: str
    ) -> None:
        data = bytes.fromhex(text)
        for extra in (b"\0", b"x", b"\0\0\0\0"):
            with pytest.raises(ProtocolViolation):
                parse(relength(data + extra))

    def test_cut_anywhere_is_refused(
        self, parse: Parse, encode: Encode, value: object, text: str
    ) -> None:
        data = bytes.fromhex(text)
        for end in range(5, len(data)):
            with pytest.raises(ProtocolViolation):
                parse(relength(data[:end]))


def relength(data: bytes) -> bytes:
    return data[:1] + (len(data) - 1).to_bytes(4) + data[5:]


def test_a_statement_ends_at_its_first_nul() -> None:
    with pytest.raises(ProtocolViolation):
        m.parse_query(relength(b"Q\0\0\0\0SELECT 1\0; DROP TABLE t\0"))
    with pytest.raises(ProtocolViolation):
        m.parse_parse(relength(b"P\0\0\0\0\0SELECT 1\0; DROP TABLE t\0\0\0"))


@pytest.mark.parametrize(
    "raw", [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"SELECT '\xe9'"]
)
def test_text_that_is_not_utf8_is_unreadable(raw: bytes) -> None:
    for parse, data in (
        (m.parse_query, b"Q\0\0\0\0" + raw + b"\0"),
        (m.parse_parse, b"P\0\0\0\0\0" + raw + b"\0\0\0"),
        (m.parse_bind, b"B\0\0\0\0" + raw + b"\0\0" + b"\0" * 6),
        (m.parse_execute, b"E\0\0\0\0" + raw + b"\0" + b"\0" * 4),
        (m.parse_close, b"C\0\0\0\0S" + raw + b"\0"),
    ):
        with pytest.raises(BadText) as caught:
            parse(relength(data))
        assert caught.value.sqlstate == "22021"


@pytest.mark.parametrize(
    ("parse", "body", "why"),
    [
        (m.parse_bind, "0000 0001 0002 0000 0000", "format code 2"),
        (m.parse_bind, "0000 0002 0000 0001 0001 ffffffff 0000", "two formats for one parameter"),
        (m.parse_bind, "0000 0000 0001 fffffffe 0000", "length -2"),
        (m.parse_bind, "0000 0000 0001 7fffffff 0000", "a length past the end"),
        (m.parse_bind, "0000 0000 ffff 0000", "65,535 parameters in no bytes"),
        (m.parse_parse, "0000 ffff 00000000", "65,535 types in four bytes"),
        (m.parse_describe, "58 00", "neither statement nor portal"),
        (m.parse_close, "00 00", "neither statement nor portal"),
        (m.parse_data_row, "0001 80000000", "length -2147483648"),
        (m.parse_data_row, "0002 ffffff9c 00000000", "a length that points before its start"),
        (m.parse_row_description, "ffff", "65,535 columns in no bytes"),
        (m.parse_ready_for_query, "58", "a transaction state that there is not"),
        (m.parse_copy_response, "02 0000", "format 2"),
        (m.parse_empty, "00", "a body where there is none"),
        (m.parse_report, "53 4552524f5200", "no end of the fields"),
        (m.parse_query, "", "no text at all"),
    ],
)
def test_what_does_not_add_up_is_refused(parse: Parse, body: str, why: str) -> None:
    with pytest.raises(ProtocolViolation):
        parse(relength(b"Q\0\0\0\0" + bytes.fromhex(body)))


def test_a_command_tag_of_endless_digits_has_no_count() -> None:
    done = m.parse_command_complete(m.encode_command_complete("SELECT " + "9" * 5_000))
    assert done.rows is None
    assert m.parse_command_complete(m.encode_command_complete("SELECT ٣")).rows is None


def test_a_negative_row_limit_means_all() -> None:
    assert m.parse_execute(m.encode_execute("", -1)).max_rows == 0


def test_a_server_may_report_in_its_own_encoding() -> None:
    report = m.parse_report(relength(b"E\0\0\0\0SFATAL\0M\xe9t\xe9\0\0"))
    assert report.get("M") == "\ufffdt\ufffd"
    assert report.get("H") == ""


def test_a_nul_never_gets_into_a_string_field() -> None:
    with pytest.raises(ValueError, match="NUL"):
        m.encode_query("SELECT 1\0")
    with pytest.raises(ValueError, match="NUL"):
        m.encode_parameter_status("a", "b\0c")


@given(st.sampled_from(ROWS_OF_TABLE), st.data())
def test_mutated_it_is_a_message_or_a_taskgate_error(
    row: tuple[Parse, Encode, Any, str], data: st.DataObject
) -> None:
    parse, _, _, text = row
    raw = bytearray(bytes.fromhex(text))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(5, max(5, len(raw) - 1)))
        if at < len(raw):
            raw[at] = data.draw(st.integers(0, 255))
    try:
        parse(bytes(raw))
    except TaskgateError:
        return


@given(st.lists(st.none() | st.binary(max_size=20), max_size=20))
def test_rows_round_trip(values: list[bytes | None]) -> None:
    assert m.parse_data_row(m.encode_data_row(values)) == tuple(values)


class TestOwnReports:
    def test_an_error_says_all_it_knows(self) -> None:
        error = Denied("no rule permits this", rule="t/permit[0]", hint="ask for task x")
        report = m.parse_report(encode_error(error, detail="select on a.b", position=8))
        assert report.fields == (
            ("S", "ERROR"),
            ("V", "ERROR"),
            ("C", "42501"),
            ("M", "no rule permits this"),
            ("D", "select on a.b"),
            ("H", "ask for task x"),
            ("P", "8"),
        )

    def test_a_fatal_one(self) -> None:
        data = encode_error(ProtocolViolation("x"), severity=Severity.FATAL)
        report = m.parse_report(data)
        assert data[0] == tags.ERROR_RESPONSE
        assert (report.get("S"), report.get("V"), report.get("C")) == ("FATAL", "FATAL", "08P01")

    def test_a_notice(self) -> None:
        data = encode_notice("waiting", hint="https://gate/1")
        report = m.parse_report(data)
        assert data[0] == tags.NOTICE_RESPONSE
        assert (report.get("S"), report.get("C"), report.get("H")) == (
            "NOTICE",
            "00000",
            "https://gate/1",
        )

    def test_a_nul_in_a_message_forges_no_field(self) -> None:
        report = m.parse_report(encode_error(Denied("a\0C00000\0Mfine")))
        assert report.get("C") == "42501"
        assert report.get("M") == "a\ufffdC00000\ufffdMfine"

    def test_a_surrogate_does_not_break_it(self) -> None:
        assert m.parse_report(encode_error(Denied("a\udcffb"))).get("M") == "a?b"

    def test_an_endless_message_is_cut(self) -> None:
        assert len(encode_error(Denied("x" * 1_000_000))) < 10_000
