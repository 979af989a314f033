"""Hides values of some kinds in fields of every type and format.

Text is searched as text, and values are cut out of it; in JSON so that it stays JSON. Any other
type becomes NULL where something is found in it. Binary forms are decoded as far as they are
known; the bytes of those that are not are searched as text.
"""

import math
import re
import struct
from collections.abc import Callable, Iterator

from taskgate.masking.content import KindMasker
from taskgate.masking.detectors import Span
from taskgate.masking.json_content import hide_json
from taskgate.protocols.postgres import scalars
from taskgate.protocols.postgres.shapes import TEXTS, UNSEARCHED, Shape, shape_of
from taskgate.protocols.postgres.values import FieldOp

_INT2, _INT4, _INT8 = struct.Struct("!h"), struct.Struct("!i"), struct.Struct("!q")
_FLOAT4, _FLOAT8 = struct.Struct("!f"), struct.Struct("!d")
# The shortest number that is looked at has seven digits (a telephone number's).
_SHORT_INT4, _SHORT_INT8 = _INT4.pack(1_000_000), _INT8.pack(1_000_000)
_MAX_DEPTH = 8
_MAX_ELEMENTS = 100_000
_PIECES = re.compile(rb'[{}()\[\],;"\\]+|=>')
_NOT_DIGITS = bytes(set(range(256)) - set(b"0123456789"))


def searchable(shape: Shape) -> bool:
    """Whether a value of any kind fits in the type."""
    return shape not in UNSEARCHED


def readable(shape: Shape, binary: bool) -> bool:
    """Whether a field's bytes as they stand show any value that they hold.

    True: if `KindMasker.may_contain` says no to a buffer, it holds for such a field in it.
    """
    if shape in (Shape.FLOAT4, Shape.FLOAT8, Shape.MONEY):
        return False
    if not binary:
        return True
    return shape in TEXTS or shape in (Shape.CHAR, Shape.JSON, Shape.JSONB, Shape.BYTEA)


def content_op(shape: Shape, binary: bool, masker: KindMasker, encoding: str) -> FieldOp | None:
    """The function that hides values within a field; it gives the same object back where there
    are none. None for a type that has no room for any.

    For a field that is `readable` it expects to be called only where there is a hint of a value;
    without one it costs more and finds nothing.
    """
    if not searchable(shape):
        return None
    if shape in TEXTS:
        return lambda data: masker.hide_hinted(data, encoding)
    if shape is Shape.JSON or (shape is Shape.JSONB and not binary):
        return lambda data: hide_json(data, masker)
    if shape is Shape.JSONB:
        return _jsonb_op(masker)
    texts = _BINARY_TEXTS.get(shape, _other_binary) if binary else _TEXT_TEXTS.get(shape, _other)
    op = _null_if(masker, texts)
    if binary and shape in (Shape.INT4, Shape.OID):
        return lambda data: data if len(data) == 4 and data < _SHORT_INT4 else op(data)
    if binary and shape is Shape.INT8:
        return lambda data: data if len(data) == 8 and data < _SHORT_INT8 else op(data)
    return op


def _jsonb_op(masker: KindMasker) -> FieldOp:
    def op(data: bytes) -> bytes | None:
        # The version byte. Another version is another format.
        if data[:1] != b"\x01":
            return _found(masker, (data,), data)
        document = data[1:]
        hidden = hide_json(document, masker)
        if hidden is document:
            return data
        return None if hidden is None else b"\x01" + hidden

    return op


def _null_if(masker: KindMasker, texts: Callable[[bytes], Iterator[bytes] | tuple[bytes, ...]]
             ) -> FieldOp:  # fmt: skip
    return lambda data: _found(masker, texts(data), data)


def _found(
    masker: KindMasker, texts: Iterator[bytes] | tuple[bytes, ...], data: bytes
) -> bytes | None:
    """NULL if any of `texts` holds a value, or if there is no end of them."""
    spans: list[Span] = []
    for count, text in enumerate(texts):
        spans = masker.find(text)
        if spans or count > _MAX_ELEMENTS:
            masker.count(spans)
            return None
    return data


# What the values of each type say in text, for each of the two formats.


def _digits_only(data: bytes) -> tuple[bytes, ...]:
    """Money: digits with separators as the locale has them, two of them behind the point."""
    digits = data.translate(None, _NOT_DIGITS)
    return (data, digits, digits[:-2])


def _float_texts(value: float) -> tuple[bytes, ...]:
    if math.isnan(value) or abs(value) >= 1e20:
        return ()
    return (b"%d" % abs(int(value)),)


def _float_text(data: bytes) -> tuple[bytes, ...]:
    try:
        return (data, *_float_texts(float(data)))
    except ValueError:
        return (data,)


def _number_text(data: bytes) -> tuple[bytes, ...]:
    """A number as it stands, and what is before its point."""
    return (data, data.lstrip(b"-").partition(b".")[0])


def _bytea_text(data: bytes) -> tuple[bytes, ...]:
    return (scalars.bytea_bytes(data),)


def _other(data: bytes) -> Iterator[bytes]:
    """An array, a record, a range in text: as a whole, and piece by piece."""
    yield data
    if _PIECES.search(data) is not None:
        yield from filter(None, _PIECES.split(data))
        # Quotes and backslashes within elements are doubled or escaped.
        yield data.replace(b"\\", b"").replace(b'""', b'"')


def _integer(packer: struct.Struct) -> Callable[[bytes], tuple[bytes, ...]]:
    def texts(data: bytes) -> tuple[bytes, ...]:
        if len(data) != packer.size:
            return (data,)
        return (b"%d" % abs(packer.unpack(data)[0]),)

    return texts


def _float(packer: struct.Struct) -> Callable[[bytes], tuple[bytes, ...]]:
    def texts(data: bytes) -> tuple[bytes, ...]:
        return _float_texts(packer.unpack(data)[0]) if len(data) == packer.size else (data,)

    return texts


def _numeric(data: bytes) -> tuple[bytes, ...]:
    try:
        return _number_text(scalars.numeric_text(data).encode())
    except ValueError:
        return (data,)


def _inet(data: bytes) -> tuple[bytes, ...]:
    try:
        return (scalars.inet_text(data).encode(),)
    except ValueError:
        return (data,)


def _money(data: bytes) -> tuple[bytes, ...]:
    if len(data) != 8:
        return (data,)
    cents = abs(_INT8.unpack(data)[0])
    return (b"%d" % cents, b"%d" % (cents // 100))


def _other_binary(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """A type that is not known: as text, as every container that it can be, and as numbers."""
    yield data
    if depth < _MAX_DEPTH:
        for element, oid in _elements(data):
            yield from _element_texts(element, oid, depth + 1)
    else:
        # Deeper than anyone nests: each of its words may be a number.
        for at in range(0, len(data) - 7, 4):
            yield from _integer(_INT8)(data[at : at + 8])
    if len(data) == 8:
        yield from _integer(_INT8)(data)
        yield from _float(_FLOAT8)(data)
    elif len(data) == 4:
        yield from _integer(_INT4)(data)
    if len(data) >= 10:
        yield from _numeric(data)


def _element_texts(data: bytes, oid: int, depth: int) -> Iterator[bytes]:
    shape = shape_of(oid)
    if shape is Shape.OTHER:
        yield from _other_binary(data, depth)
    elif searchable(shape):
        texts = _BINARY_TEXTS.get(shape)
        yield from (data,) if texts is None else texts(data)


def _elements(data: bytes) -> list[tuple[bytes, int]]:
    """(bytes, type OID or 0) of each element, if `data` reads as a container; else none."""
    return _array(data) or _record(data) or _range(data)


def _lengths(data: bytes, at: int, count: int) -> list[bytes] | None:
    """`count` values with their lengths that fill `data` from `at` on; None if they do not."""
    out = []
    for _ in range(count):
        if at + 4 > len(data):
            return None
        size = _INT4.unpack_from(data, at)[0]
        at += 4
        if size < 0:
            continue
        if at + size > len(data):
            return None
        out.append(data[at : at + size])
        at += size
    return out if at == len(data) else None


def _array(data: bytes) -> list[tuple[bytes, int]]:
    """array_send: dimensions, null flag, element type, (size, lower bound) each, elements."""
    if len(data) < 20:
        return []
    dimensions, flag, oid = struct.unpack_from("!iiI", data)
    if not 1 <= dimensions <= 6 or flag not in (0, 1) or len(data) < 12 + 8 * dimensions:
        return []
    count = 1
    for at in range(dimensions):
        count *= max(0, _INT4.unpack_from(data, 12 + 8 * at)[0])
    if count > len(data) // 4:
        return []
    found = _lengths(data, 12 + 8 * dimensions, count)
    return [(element, oid) for element in found or ()]


def _record(data: bytes) -> list[tuple[bytes, int]]:
    """record_send: number of fields, then type OID and value each."""
    if len(data) < 12:
        return []
    count = _INT4.unpack_from(data)[0]
    if not 1 <= count <= 1664:
        return []
    out = []
    at = 4
    for _ in range(count):
        if at + 8 > len(data):
            return []
        oid, size = struct.unpack_from("!Ii", data, at)
        at += 8
        if size < 0:
            continue
        if at + size > len(data):
            return []
        out.append((data[at : at + size], oid))
        at += size
    return out if at == len(data) else []


def _range(data: bytes) -> list[tuple[bytes, int]]:
    """range_send: flags, then the bounds that there are; multirange_send: a count, then ranges."""
    if len(data) < 5:
        return []
    for start, counts in ((1, (1, 2)), (4, (_INT4.unpack_from(data)[0],))):
        for count in counts:
            if 0 < count <= len(data):
                found = _lengths(data, start, count)
                if found is not None:
                    return [(element, 0) for element in found]
    return []


_Texts = Callable[[bytes], Iterator[bytes] | tuple[bytes, ...]]
_TEXT_TEXTS: dict[Shape, _Texts] = {
    Shape.INT4: _number_text,
    Shape.INT8: _number_text,
    Shape.OID: _number_text,
    Shape.NUMERIC: _number_text,
    Shape.FLOAT4: _float_text,
    Shape.FLOAT8: _float_text,
    Shape.MONEY: _digits_only,
    Shape.BYTEA: _bytea_text,
}
_BINARY_TEXTS: dict[Shape, _Texts] = {
    Shape.INT4: _integer(_INT4),
    Shape.INT8: _integer(_INT8),
    Shape.OID: _integer(_INT4),
    Shape.NUMERIC: _numeric,
    Shape.FLOAT4: _float(_FLOAT4),
    Shape.FLOAT8: _float(_FLOAT8),
    Shape.MONEY: _money,
    Shape.BYTEA: lambda data: (data,),
    Shape.CHAR: lambda data: (data,),
    Shape.INET: _inet,
    Shape.CIDR: _inet,
}
