"""Masks of whole fields, typed: what a driver gets is a value of the column's type, or NULL."""

import struct
import uuid
from collections.abc import Callable

from taskgate.masking.plan import FieldMask
from taskgate.masking.transforms import REDACTED, Hider, hash_digest, hashed
from taskgate.model.errors import ProtocolViolation
from taskgate.model.masks import Transform, TransformKind
from taskgate.protocols.postgres import scalars
from taskgate.protocols.postgres.shapes import TEXTS, Shape

TEXT_FORMAT, BINARY_FORMAT = 0, 1

# A field's bytes without their length to what replaces them; None is NULL. Never called for NULL,
# which stays NULL under every transform of a column (of an expression, `field_steps` replaces it).
FieldOp = Callable[[bytes], bytes | None]

_ENCODERS: dict[Shape, scalars.Encoder] = {
    Shape.JSON: scalars.encode_json,
    Shape.JSONB: scalars.encode_jsonb,
    Shape.INT2: scalars.encode_integer("h", 16),
    Shape.INT4: scalars.encode_integer("i", 32),
    Shape.INT8: scalars.encode_integer("q", 64),
    Shape.OID: scalars.encode_integer("I", 32, signed=False),
    Shape.FLOAT4: scalars.encode_float("f"),
    Shape.FLOAT8: scalars.encode_float("d"),
    Shape.NUMERIC: scalars.encode_numeric,
    Shape.BOOL: scalars.encode_bool,
    Shape.UUID: scalars.encode_uuid,
    Shape.DATE: scalars.encode_date,
    Shape.TIMESTAMP: scalars.encode_timestamp(zoned=False),
    Shape.TIMESTAMPTZ: scalars.encode_timestamp(zoned=True),
    Shape.BYTEA: scalars.encode_bytea,
    Shape.INET: scalars.encode_inet(cidr=False),
    Shape.CIDR: scalars.encode_inet(cidr=True),
}
_JSONS = frozenset((Shape.JSON, Shape.JSONB))
_INTEGERS = {Shape.INT4: ("!i", 31), Shape.INT8: ("!q", 63)}


def format_of(code: int) -> bool:
    """Whether a format code means binary.

    Raises: ProtocolViolation for a code that is neither.
    """
    if code not in (TEXT_FORMAT, BINARY_FORMAT):
        raise ProtocolViolation(f"the resource sent a field in the unknown format {code}")
    return code == BINARY_FORMAT


def constant_bytes(shape: Shape, binary: bool, text: str, encoding: str) -> bytes | None:
    """`text` as a value of the type; None if it is none."""
    if shape in TEXTS:
        return text.encode(encoding, "replace")
    if shape is Shape.CHAR:
        return text.encode() if len(text) == 1 and text.isascii() else b"*"
    encoder = _ENCODERS.get(shape)
    return encoder(text, binary) if encoder is not None else None


def fixed_or_op(
    mask: FieldMask, shape: Shape, binary: bool, hider: Hider, encoding: str
) -> bytes | FieldOp | None:
    """What a masked field becomes: the same bytes for every value, None for NULL, or a function.

    Of an expression nothing is kept. A type that redaction has no value for becomes NULL.
    """
    transform = mask.transform
    match transform.kind:
        case TransformKind.NULL:
            return None
        case TransformKind.CONSTANT if mask.plain:
            return constant_bytes(shape, binary, transform.constant, encoding)
        case TransformKind.PARTIAL if mask.plain and shape in TEXTS:
            return _partial_op(hider, transform, encoding)
        case TransformKind.HASH if mask.plain:
            return _hash_op(shape, binary, hider.key, encoding)
        case _:
            return _redacted(shape, binary, encoding)


def _redacted(shape: Shape, binary: bool, encoding: str) -> bytes | None:
    if shape in TEXTS or shape is Shape.CHAR or shape in _JSONS:
        return constant_bytes(shape, binary, REDACTED, encoding)
    return None


def _partial_op(hider: Hider, transform: Transform, encoding: str) -> FieldOp:

    def op(data: bytes) -> bytes | None:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            # Not in the encoding it should be in: its first and last characters are not known.
            return REDACTED.encode()
        hidden = hider.hide(transform, text)
        return None if hidden is None else hidden.encode(encoding, "replace")

    return op


def _hash_op(shape: Shape, binary: bool, key: bytes, encoding: str) -> FieldOp | None:
    """Stand-ins of the same type, equal for equal values whatever their format.

    int2 has too few values to tell them apart; other types have no stand-in: NULL.
    """
    if shape in TEXTS:
        return _hash_text_op(shape, key, encoding)
    if shape in _JSONS:
        version = binary and shape is Shape.JSONB
        return lambda data: (
            (b"\x01" if version else b"")
            + b'"%s"' % hashed(data[version:].decode("utf-8", "surrogateescape"), key).encode()
        )
    if shape in _INTEGERS:
        return _hash_integer_op(shape, binary, key)
    if shape is Shape.UUID:
        return lambda data: _hash_uuid(data, binary, key)
    if shape is Shape.BYTEA:
        return lambda data: _hash_bytea(data, binary, key)
    return None


def _hash_text_op(shape: Shape, key: bytes, encoding: str) -> FieldOp:
    padded, folded = shape is Shape.TEXT_PADDED, shape is Shape.TEXT_FOLDED

    def op(data: bytes) -> bytes:
        text = data.decode(encoding, "surrogateescape")
        if padded:
            text = text.rstrip(" ")
        elif folded:
            text = text.lower()
        return hash_digest(text.encode("utf-8", "surrogateescape"), key).hex()[:32].encode()

    return op


def _hash_integer_op(shape: Shape, binary: bool, key: bytes) -> FieldOp:
    code, bits = _INTEGERS[shape]
    packer = struct.Struct(code)

    def op(data: bytes) -> bytes:
        if binary and len(data) != packer.size:
            raise ProtocolViolation("the resource sent an integer of the wrong size")
        canonical = b"%d" % packer.unpack(data)[0] if binary else data
        number = int.from_bytes(hash_digest(canonical, key)[:8], "big") >> (64 - bits)
        return packer.pack(number) if binary else b"%d" % number

    return op


def _hash_uuid(data: bytes, binary: bool, key: bytes) -> bytes:
    """A UUID of version 8 (RFC 9562 section 5.8)."""
    if binary and len(data) != 16:
        raise ProtocolViolation("the resource sent a UUID of the wrong size")
    canonical = str(uuid.UUID(bytes=data)).encode() if binary else data.lower()
    digest = bytearray(hash_digest(canonical, key)[:16])
    digest[6] = 0x80 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    value = uuid.UUID(bytes=bytes(digest))
    return value.bytes if binary else str(value).encode()


def _hash_bytea(data: bytes, binary: bool, key: bytes) -> bytes:
    digest = hash_digest(data if binary else scalars.bytea_bytes(data), key)[:16]
    return digest if binary else b"\\x" + digest.hex().encode()
