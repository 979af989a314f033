"""Text as a person would read it: escapes undone, look-alike characters made ASCII.

A card number in full-width digits, an address with a zero-width space in it or with its `@`
written as a JSON, HTML or URL escape is the same value to whoever reads it. Detectors look at the
folded text too, and spans found there are led back to where they stand in the original.

Not undone, because no content detector could tell it from ordinary text: base64 and hex, reversed
or shifted strings, letters of other alphabets that look Latin. Column masks cover those.
"""

import unicodedata
from array import array
from functools import cache
from itertools import chain

import re2

from taskgate.masking.finder import compile_bytes

# Named references whose characters matter to a detector (HTML living standard, section 13.5).
_ENTITIES = {
    "commat": "@", "period": ".", "nbsp": " ", "ensp": " ", "emsp": " ", "thinsp": " ",
    "hyphen": "-", "dash": "-", "ndash": "-", "mdash": "-", "minus": "-", "shy": "", "plus": "+",
    "lpar": "(", "rpar": ")", "colon": ":", "sol": "/", "lowbar": "_", "equals": "=",
    "num": "#", "percnt": "%", "Tab": " ", "zwj": "", "zwnj": "", "lrm": "", "rlm": "",
    "ZeroWidthSpace": "", "NoBreak": "",
}  # fmt: skip
# Repeated backslashes and `%25`, `&amp;` are the same escape made twice.
_ESCAPES = (
    rb"\\+(?:u\{[0-9A-Fa-f]{1,6}\}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|/)"
    rb"|%(?:25)*[2-7][0-9A-Fa-f]"
    rb"|&(?:amp;)*(?:#0*[0-9]{1,7}|#[xX]0*[0-9A-Fa-f]{1,6}|" + "|".join(_ENTITIES).encode() + rb");"
)
# Dashes and spaces that stand between groups of digits; NFKC leaves most of them alone.
_DASHES = "\u058a\u05be\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2e3a\u2e3b\u30fc\uff0d"
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
_DOTS = "\u3002\uff61\u2024\u0589"
_RANGES = (range(0x80, 0x3100), range(0xA620, 0xAC00), range(0xF900, 0x11D60),
           range(0x16A60, 0x16B60), range(0x1D400, 0x1D800), range(0x1E140, 0x1E300),
           range(0x1E950, 0x1E95A), range(0x1F100, 0x1F190), range(0x1FBF0, 0x1FBFA),
           range(0xE0000, 0xE01F0))  # fmt: skip


def _fold_character(character: str) -> str:
    """The ASCII that `character` reads as, empty if it is invisible, itself if neither."""
    if character in _FILLERS:
        return ""
    category = unicodedata.category(character)
    if category == "Cf" or 0xFE00 <= ord(character) <= 0xFE0F or ord(character) >= 0xE0100:
        return ""
    if category == "Zs":
        return " "
    if category == "Nd":
        return str(unicodedata.digit(character))
    if character in _DASHES or category == "Pd":
        return "-"
    if character in _DOTS:
        return "."
    compatible = unicodedata.normalize("NFKC", character)
    return compatible if compatible.isascii() else character


@cache
def _table() -> dict[str, str]:
    """What each character outside ASCII folds to, for those that do."""
    table = {}
    for code in chain(*_RANGES):
        if 0xD800 <= code <= 0xDFFF:
            continue
        character = chr(code)
        folded = _fold_character(character)
        if folded != character:
            table[character] = folded
    return table


@cache
def foldable_pattern() -> bytes:
    """What matches, in bytes of UTF-8, whatever `fold` would change; for `compile_bytes`."""
    endings: dict[bytes, set[int]] = {}
    for character in _table():
        encoded = character.encode()
        endings.setdefault(encoded[:-1], set()).add(encoded[-1])
    sequences = [
        b"".join(b"\\x%02x" % byte for byte in head) + _byte_class(last)
        for head, last in sorted(endings.items())
    ]
    return b"|".join((_ESCAPES, *sequences))


def _byte_class(wanted: set[int]) -> bytes:
    ranges: list[list[int]] = []
    for byte in sorted(wanted):
        if ranges and ranges[-1][1] == byte - 1:
            ranges[-1][1] = byte
        else:
            ranges.append([byte, byte])
    return b"[" + b"".join(b"\\x%02x-\\x%02x" % (a, z) for a, z in ranges) + b"]"


@cache
def foldable() -> re2._Regexp:
    """`foldable_pattern`, compiled."""
    return compile_bytes(foldable_pattern())


def _unescape(escape: str) -> str | None:
    """The character that `escape` stands for; None if it stands for none."""
    if escape[0] == "\\":
        body = escape.lstrip("\\")
        if body == "/":
            return "/"
        code = int(body[1:].strip("{}"), 16)
    elif escape[0] == "%":
        code = int(escape[-2:], 16)
    else:
        body = escape[1:-1]
        while body.startswith("amp;"):
            body = body[4:]
        if body in _ENTITIES:
            return _ENTITIES[body]
        code = int(body[2:], 16) if body[1] in "xX" else int(body[1:])
    return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else None


def fold(text: bytes) -> tuple[bytes, "array[int]"] | None:
    """`text` as it reads, and for each of its bytes (and its end) the offset it comes from.

    None where nothing folds: then `text` reads as it stands. Offsets are in bytes of `text`;
    the one of a folded byte is where its escape or character starts, and the next one where it
    ends. `text` that is not UTF-8 is folded as far as its escapes go.
    """
    out = bytearray()
    offsets = array("q")
    done = 0
    table = _table()
    for match in foldable().finditer(text):
        start, end = match.span()
        found = text[start:end].decode("utf-8", "surrogateescape")
        replacement = table.get(found)
        if replacement is None:
            unescaped = _unescape(found)
            if unescaped is None:
                continue
            # An escape may stand for a look-alike in its turn.
            replacement = table.get(unescaped, unescaped)
        if start > done:
            out += text[done:start]
            offsets.extend(range(done, start))
        encoded = replacement.encode()
        out += encoded
        offsets.extend([start] * len(encoded))
        done = end
    if not done:
        return None
    out += text[done:]
    offsets.extend(range(done, len(text) + 1))
    return bytes(out), offsets


def unfold_span(start: int, end: int, offsets: "array[int]") -> tuple[int, int]:
    """Where a span of folded text (byte offsets, `start` < `end`) stands in the original.

    It takes in what was invisible at either side, so that nothing of an escape stays behind.
    """
    last = offsets[end - 1]
    after = end
    # Every byte of one replacement has its start as offset: step over to where it ends.
    while after < len(offsets) - 1 and offsets[after] == last:
        after += 1
    return offsets[start], offsets[after]
