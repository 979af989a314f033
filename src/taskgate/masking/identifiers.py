"""Made-up identifiers: UUIDs and digests, whose digits look like numbers by chance alone.

One UUID in some thousands holds a telephone number, and one SHA-1 in some hundreds an IBAN, as far
as checksums can tell. Whoever can write a value into such a shape could as well reverse it: that
is for column masks to prevent.
"""

from taskgate.masking.finder import compile_bytes

_HEX = frozenset(b"0123456789abcdefABCDEF")
_UUID = compile_bytes(
    rb"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
)
_UUID_BYTES = 36
# An ObjectId has 24 digits, MD5 32, SHA-1 40.
_MIN_DIGEST = 24
_MAX_DIGEST = 128
_MIN_LETTERS = 3
_LOWER = bytes(set(range(256)) - set(b"abcdef"))
_UPPER = bytes(set(range(256)) - set(b"ABCDEF"))


def within_identifier(text: bytes, start: int, end: int) -> bool:
    """Whether the span lies within a UUID or a hex digest."""
    low = max(0, start - _UUID_BYTES)
    for match in _UUID.finditer(text, low, min(len(text), end + _UUID_BYTES)):
        if match.start() <= start and end <= match.end():
            return True
    if not all(byte in _HEX for byte in text[start:end]):
        return False
    low, high = start, end
    while low > 0 and text[low - 1] in _HEX and high - low <= _MAX_DIGEST:
        low -= 1
    while high < len(text) and text[high] in _HEX and high - low <= _MAX_DIGEST:
        high += 1
    word = text[low:high]
    lower, upper = len(word.translate(None, _LOWER)), len(word.translate(None, _UPPER))
    return (
        _MIN_DIGEST <= len(word) <= _MAX_DIGEST
        and max(lower, upper) >= _MIN_LETTERS
        and min(lower, upper) == 0
    )
