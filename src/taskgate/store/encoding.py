"""Model types as text columns, and text that any database takes."""

import json
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def encode(value: object) -> str:
    """JSON in ASCII. PostgreSQL refuses NUL in text, and neither database takes a lone
    surrogate; escaped, both survive the way there and back."""
    return json.dumps(msgspec.to_builtins(value, order="deterministic"), separators=(",", ":"))


def decode(text: str, kind: type[T]) -> T:
    """The other way. Raises: msgspec.ValidationError if the column holds something else."""
    return msgspec.convert(json.loads(text), kind)


def decode_any(text: str, kind: Any) -> Any:
    """`decode` for generic aliases, which are no `type` to a type checker."""
    return msgspec.convert(json.loads(text), kind)


def plain(text: str) -> str:
    """`text` with what a text column cannot hold (NUL, lone surrogates) replaced by U+FFFD.

    For words that people and clients choose freely and that nothing is decided by.
    """
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def storable(text: str) -> bool:
    """Whether a text column can hold `text` as it is."""
    if "\0" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
