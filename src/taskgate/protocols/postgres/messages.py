"""The messages of the query cycle, as frames and as values.

Each `parse_` takes a whole frame (type, length, body), as the framers give it, and checks it to
the last byte; it raises ProtocolViolation where the frame is malformed and BadText where text is
not UTF-8. Each `encode_` returns a whole frame. Signing in has its own messages in
`authentication`.

Source: PostgreSQL documentation, "Message Formats".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from taskgate.model.errors import ProtocolViolation
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.reader import (
    INT16,
    INT32,
    UINT16,
    UINT32,
    Reader,
    decode_text,
    encode_text,
    frame,
)

STATEMENT: Final = "S"
PORTAL: Final = "P"

SYNC: Final = frame(tags.SYNC, b"")
FLUSH: Final = frame(tags.FLUSH, b"")
TERMINATE: Final = frame(tags.TERMINATE, b"")
COPY_DONE: Final = frame(tags.COPY_DONE, b"")
PARSE_COMPLETE: Final = frame(tags.PARSE_COMPLETE, b"")
BIND_COMPLETE: Final = frame(tags.BIND_COMPLETE, b"")
CLOSE_COMPLETE: Final = frame(tags.CLOSE_COMPLETE, b"")
NO_DATA: Final = frame(tags.NO_DATA, b"")
EMPTY_QUERY_RESPONSE: Final = frame(tags.EMPTY_QUERY_RESPONSE, b"")
PORTAL_SUSPENDED: Final = frame(tags.PORTAL_SUSPENDED, b"")

# A count of rows is a 64-bit number.
_MAX_COUNT_DIGITS: Final = 20
_FIELD: Final = Struct(">IhIhih")


# Those that come with every statement are not frozen: a frozen one takes four times as long
# to make.


@dataclass(slots=True)
class Query:
    text: str


@dataclass(slots=True)
class Parse:
    """`parameter_types` are OIDs, 0 where the server shall infer the type."""

    name: str
    text: str
    parameter_types: tuple[int, ...] = ()


@dataclass(slots=True)
class Bind:
    """Formats: none (all text), one (for all), or one each; 0 is text, 1 binary."""

    portal: str
    statement: str
    parameter_formats: tuple[int, ...] = ()
    parameters: tuple[bytes | None, ...] = ()
    result_formats: tuple[int, ...] = ()


@dataclass(slots=True)
class Describe:
    """`kind` is STATEMENT or PORTAL."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Close:
    """`kind` is STATEMENT or PORTAL."""

    kind: str
    name: str


@dataclass(slots=True)
class Execute:
    """`max_rows` 0 means all."""

    portal: str
    max_rows: int = 0


@dataclass(frozen=True, slots=True)
class FunctionCall:
    function_oid: int
    argument_formats: tuple[int, ...] = ()
    arguments: tuple[bytes | None, ...] = ()
    result_format: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """One result column. `table_oid` and `attnum` are its origin, 0 if it is none's; `format` 0
    is text, 1 binary."""

    name: str
    table_oid: int = 0
    attnum: int = 0
    type_oid: int = 25
    typlen: int = -1
    typmod: int = -1
    format: int = 0


@dataclass(slots=True)
class CommandComplete:
    """`tag` is as the server wrote it ("INSERT 0 5"); `rows` None where it tells no number."""

    tag: str
    rows: int | None


@dataclass(frozen=True, slots=True)
class Notification:
    process_id: int
    channel: str
    payload: str


@dataclass(frozen=True, slots=True)
class CopyResponse:
    """`format` is 0 (text, CSV) or 1 (binary), `columns` each column's."""

    format: int
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ServerReport:
    """The fields of an ErrorResponse or NoticeResponse in their order: (code, value), codes as in
    "Error and Notice Message Fields". Values that are not UTF-8 are read with replacement
    characters, because servers report in their own encoding before a session has one."""

    fields: tuple[tuple[str, str], ...]

    def get(self, code: str) -> str:
        """The first field of that code, "" for none."""
        for name, value in self.fields:
            if name == code:
                return value
        return ""


# Frontend


def parse_query(data: bytes) -> Query:
    end = len(data) - 1
    if end < 5 or data.find(b"\0", 5) != end:
        raise ProtocolViolation("message 'Q' is malformed: its text does not end where it ends")
    return Query(decode_text(data[5:end]))


def encode_query(text: str) -> bytes:
    return frame(tags.QUERY, encode_text(text))


def parse_parse(data: bytes) -> Parse:
    reader = Reader(data)
    name = reader.text()
    text = reader.text()
    types = tuple([reader.uint32() for _ in range(reader.uint16())])
    reader.finish()
    return Parse(name, text, types)


def encode_parse(message: Parse) -> bytes:
    types = message.parameter_types
    return frame(
        tags.PARSE,
        encode_text(message.name)
        + encode_text(message.text)
        + UINT16.pack(len(types))
        + b"".join([UINT32.pack(oid) for oid in types]),
    )


def parse_bind(data: bytes) -> Bind:
    reader = Reader(data)
    portal = reader.text()
    statement = reader.text()
    parameter_formats = reader.formats()
    parameters = tuple([reader.sized() for _ in range(reader.uint16())])
    if len(parameter_formats) > 1 and len(parameter_formats) != len(parameters):
        raise ProtocolViolation(
            f"message 'B' is malformed: {len(parameter_formats)} parameter formats"
            f" for {len(parameters)} parameters"
        )
    result_formats = reader.formats()
    reader.finish()
    return Bind(portal, statement, parameter_formats, parameters, result_formats)


def encode_bind(message: Bind) -> bytes:
    parts = [
        encode_text(message.portal),
        encode_text(message.statement),
        _formats(message.parameter_formats),
        UINT16.pack(len(message.parameters)),
    ]
    _add_sized(parts, message.parameters)
    parts.append(_formats(message.result_formats))
    return frame(tags.BIND, b"".join(parts))


def _parse_named(data: bytes) -> tuple[str, str]:
    reader = Reader(data)
    kind = chr(reader.byte())
    if kind not in (STATEMENT, PORTAL):
        raise ProtocolViolation(
            f"message {chr(data[0])!r} is malformed: neither statement nor portal"
        )
    name = reader.text()
    reader.finish()
    return kind, name


def parse_describe(data: bytes) -> Describe:
    kind, name = _parse_named(data)
    return Describe(kind, name)


def encode_describe(kind: str, name: str) -> bytes:
    return frame(tags.DESCRIBE, kind.encode("ascii") + encode_text(name))


def parse_close(data: bytes) -> Close:
    kind, name = _parse_named(data)
    return Close(kind, name)


def encode_close(kind: str, name: str) -> bytes:
    return frame(tags.CLOSE, kind.encode("ascii") + encode_text(name))


def parse_execute(data: bytes) -> Execute:
    reader = Reader(data)
    portal = reader.text()
    max_rows = reader.int32()
    reader.finish()
    return Execute(portal, max(max_rows, 0))


def encode_execute(portal: str, max_rows: int = 0) -> bytes:
    return frame(tags.EXECUTE, encode_text(portal) + INT32.pack(max_rows))


def parse_function_call(data: bytes) -> FunctionCall:
    reader = Reader(data)
    oid = reader.uint32()
    formats = reader.formats()
    arguments = tuple([reader.sized() for _ in range(reader.uint16())])
    result_format = reader.int16()
    reader.finish()
    return FunctionCall(oid, formats, arguments, result_format)


def encode_function_call(message: FunctionCall) -> bytes:
    parts = [
        UINT32.pack(message.function_oid),
        _formats(message.argument_formats),
        UINT16.pack(len(message.arguments)),
    ]
    _add_sized(parts, message.arguments)
    parts.append(INT16.pack(message.result_format))
    return frame(tags.FUNCTION_CALL, b"".join(parts))


def parse_copy_fail(data: bytes) -> str:
    """The client's reason for giving up a COPY."""
    reader = Reader(data)
    reason = reader.text()
    reader.finish()
    return reason


def encode_copy_fail(reason: str) -> bytes:
    return frame(tags.COPY_FAIL, encode_text(reason))


def parse_empty(data: bytes) -> None:
    """Checks a message that has no body: Sync, Flush, Terminate, CopyDone, ParseComplete, ..."""
    Reader(data).finish()


def encode_copy_data(data: bytes) -> bytes:
    return frame(tags.COPY_DATA, data)


def copy_data(data: bytes) -> memoryview:
    """The body of a CopyData frame, in place."""
    return memoryview(data)[5:]


# Backend


def parse_row_description(data: bytes) -> tuple[Field, ...]:
    reader = Reader(data)
    fields: list[Field] = []
    for _ in range(reader.uint16()):
        name = reader.text()
        fields.append(Field(name, *_FIELD.unpack(reader.raw(18))))
    reader.finish()
    return tuple(fields)


def encode_row_description(fields: Sequence[Field]) -> bytes:
    parts = [UINT16.pack(len(fields))]
    for field in fields:
        parts.append(encode_text(field.name))
        parts.append(
            _FIELD.pack(
                field.table_oid,
                field.attnum,
                field.type_oid,
                field.typlen,
                field.typmod,
                field.format,
            )
        )
    return frame(tags.ROW_DESCRIPTION, b"".join(parts))


def parse_data_row(data: bytes) -> tuple[bytes | None, ...]:
    reader = Reader(data)
    values = tuple([reader.sized() for _ in range(reader.uint16())])
    reader.finish()
    return values


def encode_data_row(values: Sequence[bytes | None]) -> bytes:
    parts = [UINT16.pack(len(values))]
    _add_sized(parts, values)
    return frame(tags.DATA_ROW, b"".join(parts))


def parse_parameter_description(data: bytes) -> tuple[int, ...]:
    """Type OIDs of a prepared statement's parameters."""
    reader = Reader(data)
    types = tuple([reader.uint32() for _ in range(reader.uint16())])
    reader.finish()
    return types


def encode_parameter_description(types: Sequence[int]) -> bytes:
    return frame(
        tags.PARAMETER_DESCRIPTION,
        UINT16.pack(len(types)) + b"".join([UINT32.pack(oid) for oid in types]),
    )


def parse_command_complete(data: bytes) -> CommandComplete:
    reader = Reader(data)
    tag = reader.text()
    reader.finish()
    last = tag.rpartition(" ")[2]
    is_count = len(last) <= _MAX_COUNT_DIGITS and last.isascii() and last.isdigit()
    return CommandComplete(tag, int(last) if is_count else None)


def encode_command_complete(tag: str) -> bytes:
    return frame(tags.COMMAND_COMPLETE, encode_text(tag))


def parse_ready_for_query(data: bytes) -> str:
    """The transaction's state: "I" idle, "T" in a block, "E" in a failed block."""
    reader = Reader(data)
    status = chr(reader.byte())
    reader.finish()
    if status not in ("I", "T", "E"):
        raise ProtocolViolation(f"message 'Z' is malformed: unknown transaction state {status!r}")
    return status


def encode_ready_for_query(status: str) -> bytes:
    return frame(tags.READY_FOR_QUERY, status.encode("ascii"))


def parse_parameter_status(data: bytes) -> tuple[str, str]:
    """A setting's name and its value."""
    reader = Reader(data)
    name = reader.text()
    value = reader.text()
    reader.finish()
    return name, value


def encode_parameter_status(name: str, value: str) -> bytes:
    return frame(tags.PARAMETER_STATUS, encode_text(name) + encode_text(value))


def parse_notification(data: bytes) -> Notification:
    reader = Reader(data)
    process_id = reader.int32()
    channel = reader.text()
    payload = reader.text()
    reader.finish()
    return Notification(process_id, channel, payload)


def encode_notification(message: Notification) -> bytes:
    return frame(
        tags.NOTIFICATION_RESPONSE,
        INT32.pack(message.process_id)
        + encode_text(message.channel)
        + encode_text(message.payload),
    )


def parse_copy_response(data: bytes) -> CopyResponse:
    """CopyInResponse, CopyOutResponse or CopyBothResponse."""
    reader = Reader(data)
    overall = reader.byte()
    columns = reader.formats()
    reader.finish()
    if overall not in (0, 1):
        raise ProtocolViolation(f"message {chr(data[0])!r} is malformed: format {overall}")
    return CopyResponse(overall, columns)


def encode_copy_response(tag: int, message: CopyResponse) -> bytes:
    return frame(tag, bytes((message.format,)) + _formats(message.columns))


def parse_report(data: bytes) -> ServerReport:
    """ErrorResponse or NoticeResponse."""
    reader = Reader(data)
    fields: list[tuple[str, str]] = []
    while True:
        code = reader.byte()
        if code == 0:
            break
        fields.append((chr(code), reader.raw_text().decode("utf-8", "replace")))
    reader.finish()
    return ServerReport(tuple(fields))


def encode_report(tag: int, fields: Sequence[tuple[str, str]]) -> bytes:
    """ErrorResponse or NoticeResponse of these fields, in this order."""
    parts = [code.encode("latin-1") + encode_text(value) for code, value in fields]
    parts.append(b"\0")
    return frame(tag, b"".join(parts))


def _formats(codes: Sequence[int]) -> bytes:
    return UINT16.pack(len(codes)) + b"".join([INT16.pack(code) for code in codes])


def _add_sized(parts: list[bytes], values: Sequence[bytes | None]) -> None:
    for value in values:
        if value is None:
            parts.append(b"\xff\xff\xff\xff")
        else:
            parts.append(INT32.pack(len(value)))
            parts.append(value)
