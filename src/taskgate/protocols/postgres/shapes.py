"""The types that PostgreSQL's fields have, as far as masking must tell them apart."""

from enum import Enum, auto


class Shape(Enum):
    """What a type's values look like on the wire."""

    TEXT = auto()
    TEXT_PADDED = auto()  # bpchar: trailing spaces mean nothing
    TEXT_FOLDED = auto()  # citext: case means nothing
    CHAR = auto()  # "char": one byte
    JSON = auto()
    JSONB = auto()
    INT2 = auto()
    INT4 = auto()
    INT8 = auto()
    OID = auto()
    FLOAT4 = auto()
    FLOAT8 = auto()
    NUMERIC = auto()
    MONEY = auto()
    BOOL = auto()
    UUID = auto()
    DATE = auto()
    TIMESTAMP = auto()
    TIMESTAMPTZ = auto()
    INERT = auto()  # cannot hold a value of any kind: times, intervals, positions in the log
    BYTEA = auto()
    INET = auto()
    CIDR = auto()
    OTHER = auto()  # arrays, ranges, records, enums, and all that is not known


# pg_type's fixed OIDs (PostgreSQL source, `src/include/catalog/pg_type.dat`).
_BUILT_IN = {
    16: Shape.BOOL, 17: Shape.BYTEA, 18: Shape.CHAR, 19: Shape.TEXT, 20: Shape.INT8,
    21: Shape.INT2, 23: Shape.INT4, 25: Shape.TEXT, 26: Shape.OID, 28: Shape.OID,
    114: Shape.JSON, 142: Shape.TEXT, 650: Shape.CIDR, 700: Shape.FLOAT4, 701: Shape.FLOAT8,
    705: Shape.TEXT, 790: Shape.MONEY, 869: Shape.INET, 1042: Shape.TEXT_PADDED,
    1043: Shape.TEXT, 1082: Shape.DATE, 1083: Shape.INERT, 1114: Shape.TIMESTAMP,
    1184: Shape.TIMESTAMPTZ, 1186: Shape.INERT, 1266: Shape.INERT, 1700: Shape.NUMERIC,
    1790: Shape.TEXT, 2275: Shape.TEXT, 2278: Shape.INERT, 2950: Shape.UUID, 3220: Shape.INERT,
    3802: Shape.JSONB,
}  # fmt: skip
_BY_NAME = {
    "citext": Shape.TEXT_FOLDED, "text": Shape.TEXT, "varchar": Shape.TEXT,
    "bpchar": Shape.TEXT_PADDED, "name": Shape.TEXT, "json": Shape.JSON, "jsonb": Shape.JSONB,
    "xml": Shape.TEXT,
}  # fmt: skip
TEXTS = frozenset((Shape.TEXT, Shape.TEXT_PADDED, Shape.TEXT_FOLDED))
# No value of any kind fits in these, or only by chance (`masking.identifiers`).
UNSEARCHED = frozenset(
    (
        Shape.UUID,
        Shape.BOOL,
        Shape.INT2,
        Shape.DATE,
        Shape.TIMESTAMP,
        Shape.TIMESTAMPTZ,
        Shape.INERT,
    )
)


def shape_of(oid: int) -> Shape:
    """The shape of a built-in type; OTHER for any other one."""
    return _BUILT_IN.get(oid, Shape.OTHER)


def shape_named(name: str) -> Shape:
    """The shape of a type that an extension made, by its bare name; OTHER if it is not known.

    Only for types that belong to an extension: anyone can make one of that name.
    """
    return _BY_NAME.get(name, Shape.OTHER)
