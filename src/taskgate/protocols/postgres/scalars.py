"""Single values of PostgreSQL's types: what a replacement must look like so that drivers read it,
and what a binary number is in digits.

Binary formats as the types' send functions write them (PostgreSQL source, `src/backend/utils/adt`);
text formats as in the manual, chapter 8.
"""

import ipaddress
import json
import math
import re
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

_EPOCH_DATE = date(2000, 1, 1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}\Z")
_NUMERIC_HEAD = struct.Struct("!hhHh")
_NUMERIC_NEGATIVE = 0x4000
_NUMERIC_SPECIAL = frozenset((0xC000, 0xD000, 0xF000))
_DIGIT = struct.Struct("!h")
# PostgreSQL's own address families in inet's binary form.
_AF_INET, _AF_INET6 = 2, 3
_TRUE = frozenset(("t", "true", "y", "yes", "on", "1"))
_FALSE = frozenset(("f", "false", "n", "no", "off", "0"))

Encoder = Callable[[str, bool], bytes | None]


def numeric_text(data: bytes) -> str:
    """A binary numeric in digits, `NaN` and infinities by name.

    Raises: ValueError if `data` is none.
    """
    try:
        count, weight, sign, scale = _NUMERIC_HEAD.unpack_from(data)
    except struct.error:
        raise ValueError("a numeric is cut short") from None
    if len(data) != _NUMERIC_HEAD.size + 2 * count or count < 0:
        raise ValueError("a numeric's digits do not add up")
    if sign in _NUMERIC_SPECIAL:
        return "NaN" if sign == 0xC000 else "Infinity"
    groups = [d[0] for d in _DIGIT.iter_unpack(data[_NUMERIC_HEAD.size :])]
    if any(not 0 <= g <= 9999 for g in groups):
        raise ValueError("a numeric's digit is out of range")
    # The weight is that of the first group, in powers of 10000; groups left out are zero.
    whole = groups[: max(weight + 1, 0)]
    whole += [0] * (weight + 1 - len(whole))
    rest = [0] * min(max(-1 - weight, 0), 1 + scale // 4) + groups[max(weight + 1, 0) :]
    text = "".join(f"{g:04d}" for g in whole).lstrip("0") or "0"
    fraction = "".join(f"{g:04d}" for g in rest)[:scale].ljust(scale, "0")
    minus = "-" if sign == _NUMERIC_NEGATIVE else ""
    return f"{minus}{text}.{fraction}" if scale > 0 else minus + text


def encode_numeric(text: str, binary: bool) -> bytes | None:
    """`text` as a numeric; None if it is none that is finite and shorter than a thousand digits."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value.adjusted()) > 1000 or len(text) > 1000:
        return None
    plain = f"{value:f}"
    if not binary:
        return plain.encode()
    whole, _, fraction = plain.lstrip("-+").partition(".")
    scale = len(fraction)
    whole = whole.zfill(-(-len(whole) // 4) * 4)
    fraction = fraction.ljust(-(-scale // 4) * 4, "0")
    digits = [int((whole + fraction)[i : i + 4]) for i in range(0, len(whole + fraction), 4)]
    weight = len(whole) // 4 - 1
    while digits and digits[0] == 0:
        digits.pop(0)
        weight -= 1
    while digits and digits[-1] == 0:
        digits.pop()
    sign = _NUMERIC_NEGATIVE if value.is_signed() and digits else 0
    head = _NUMERIC_HEAD.pack(len(digits), weight if digits else 0, sign, scale)
    return head + b"".join(map(_DIGIT.pack, digits))


def encode_integer(code: str, bits: int, signed: bool = True) -> Encoder:
    """An encoder for integers of `bits` bits, `code` being theirs in `struct`."""
    packer = struct.Struct("!" + code)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def encode(text: str, binary: bool) -> bytes | None:
        if _INTEGER.match(text.strip()) is None or not low <= int(text) <= high:
            return None
        return packer.pack(int(text)) if binary else str(int(text)).encode()

    return encode


def encode_float(code: str) -> Encoder:
    """An encoder for floats, `code` being theirs in `struct`."""
    packer = struct.Struct("!" + code)

    def encode(text: str, binary: bool) -> bytes | None:
        try:
            value = float(text)
            packed = packer.pack(value)
        except (ValueError, OverflowError):
            return None
        if not math.isfinite(value):
            return None
        return packed if binary else repr(value).encode()

    return encode


def encode_bool(text: str, binary: bool) -> bytes | None:
    word = text.strip().lower()
    if word not in _TRUE and word not in _FALSE:
        return None
    true = word in _TRUE
    return (b"\x01" if true else b"\x00") if binary else (b"t" if true else b"f")


def encode_uuid(text: str, binary: bool) -> bytes | None:
    try:
        value = uuid.UUID(text.strip())
    except ValueError:
        return None
    return value.bytes if binary else str(value).encode()


def encode_date(text: str, binary: bool) -> bytes | None:
    """Text is ISO, which is what drivers ask of DateStyle."""
    try:
        value = date.fromisoformat(text.strip())
    except ValueError:
        return None
    days = (value - _EPOCH_DATE).days
    return struct.pack("!i", days) if binary else value.isoformat().encode()


def encode_timestamp(zoned: bool) -> Encoder:
    """An encoder for timestamp, or timestamptz if `zoned`; UTC where the text says no zone."""

    def encode(text: str, binary: bool) -> bytes | None:
        try:
            value = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        if value.tzinfo is None:
            value = value.replace(tzinfo=UTC)
        elif not zoned:
            return None
        value = value.astimezone(UTC)
        if binary:
            since = value - _EPOCH
            seconds = since.days * 86400 + since.seconds
            return struct.pack("!q", seconds * 1_000_000 + since.microseconds)
        return value.replace(tzinfo=None).isoformat(" ").encode() + (b"+00" if zoned else b"")

    return encode


def encode_json(text: str, binary: bool) -> bytes | None:
    """JSON stays as it is; any other text becomes a JSON string."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        text = json.dumps(text)
    return text.encode("utf-8", "surrogatepass")


def encode_jsonb(text: str, binary: bool) -> bytes | None:
    """As `encode_json`; the binary form has a version byte."""
    encoded = encode_json(text, binary)
    return b"\x01" + encoded if binary and encoded is not None else encoded


def encode_bytea(text: str, binary: bool) -> bytes | None:
    """Hex after `\\x`, any other text as its bytes."""
    raw = bytea_bytes(text.encode("utf-8", "surrogatepass"))
    return raw if binary else b"\\x" + raw.hex().encode()


def encode_inet(cidr: bool) -> Encoder:
    """An encoder for inet, or cidr."""

    def encode(text: str, binary: bool) -> bytes | None:
        try:
            value = ipaddress.ip_interface(text.strip())
            if cidr:
                ipaddress.ip_network(text.strip())
        except ValueError:
            return None
        width = value.network.prefixlen
        if binary:
            family = _AF_INET if value.version == 4 else _AF_INET6
            packed = value.ip.packed
            return bytes((family, width, cidr, len(packed))) + packed
        whole = width == value.max_prefixlen and not cidr
        return (str(value.ip) if whole else f"{value.ip}/{width}").encode()

    return encode


def inet_text(data: bytes) -> str:
    """A binary inet or cidr as text.

    Raises: ValueError if `data` is none.
    """
    if len(data) < 4 or len(data) != 4 + data[3]:
        raise ValueError("an inet is cut short")
    return f"{ipaddress.ip_address(data[4:])}/{data[1]}"


_ESCAPED = re.compile(rb"\\(\\|[0-3][0-7]{2})")


def bytea_bytes(text: bytes) -> bytes:
    """The bytes that a bytea's text output means, hex or escape format (manual, section 8.4)."""
    if text.startswith(b"\\x"):
        try:
            return bytes.fromhex(text[2:].decode("ascii"))
        except ValueError:
            return text
    return _ESCAPED.sub(lambda m: b"\\" if m[1] == b"\\" else bytes((int(m[1], 8),)), text)
