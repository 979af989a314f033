"""Rows on the wire, for tests."""

import struct

Row = list[bytes | None]


def sized(value: bytes | None) -> bytes:
    """A field's value with its length."""
    return struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value


def body(row: Row) -> bytes:
    """A DataRow's body, or a row of a binary COPY."""
    return struct.pack("!H", len(row)) + b"".join(map(sized, row))


def frame(tag: bytes, content: bytes) -> bytes:
    """One message."""
    return tag + struct.pack("!i", len(content) + 4) + content


def data_rows(*rows: Row) -> bytes:
    """DataRow frames."""
    return b"".join(frame(b"D", body(row)) for row in rows)


def read_body(content: bytes) -> Row:
    """The fields of a DataRow's body; fails if anything does not add up."""
    (count,) = struct.unpack_from("!H", content)
    at = 2
    row: Row = []
    for _ in range(count):
        (size,) = struct.unpack_from("!i", content, at)
        at += 4
        if size < 0:
            assert size == -1
            row.append(None)
            continue
        assert at + size <= len(content)
        row.append(content[at : at + size])
        at += size
    assert at == len(content)
    return row


def read_frames(data: bytes, tag: bytes) -> list[bytes]:
    """The bodies of frames that are all of one type."""
    out = []
    at = 0
    while at < len(data):
        assert data[at : at + 1] == tag
        (length,) = struct.unpack_from("!i", data, at + 1)
        assert at + 1 + length <= len(data)
        out.append(data[at + 5 : at + 1 + length])
        at += 1 + length
    return out


def read_data_rows(data: bytes) -> list[Row]:
    """The rows in DataRow frames."""
    return [read_body(content) for content in read_frames(data, b"D")]
