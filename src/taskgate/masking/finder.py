"""What a detector of one kind is made of."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import re2

Hits = Iterator[tuple[int, int]]

# Looks at one value; each costs some microseconds. A value with more of them is a hit as a whole.
MAX_CANDIDATES = 20_000
_NOT_DIGITS = bytes(set(range(256)) - set(b"0123456789"))


class TooManyCandidates(Exception):
    """A value costs too much to look at: mask it whole."""


def candidates(pattern: re2._Regexp, text: bytes) -> Iterator["re2._Match"]:
    """The matches of `pattern`, none overlapping.

    Raises: TooManyCandidates past MAX_CANDIDATES.
    """
    for count, match in enumerate(pattern.finditer(text)):
        if count >= MAX_CANDIDATES:
            raise TooManyCandidates
        yield match


def digits_in(text: bytes) -> int:
    """How many ASCII digits `text` holds."""
    return len(text.translate(None, _NOT_DIGITS))


def compile_bytes(pattern: bytes, *, capture: bool = False) -> re2._Regexp:
    """`pattern` for bytes in any superset of ASCII; bytes from 0x80 up count as letters of it.

    RE2 runs in time linear in the text whatever the pattern and text are. Not `re2.Set`: where
    its automaton runs out of memory it reports no match at all, and `search` falls back instead.
    Groups count only with `capture`: finding what they hold takes a slower automaton.
    """
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.never_capture = not capture
    return re2.compile(pattern, options)


@dataclass(frozen=True, slots=True)
class Finder:
    """One kind. `find` yields byte offsets (start, end) of values in ASCII-superset bytes.

    It may raise TooManyCandidates. `worth` is a cheap test of a value and the number of its ASCII
    digits; it is False only if `find` would find nothing. `hint` is a pattern without anchors or
    boundaries: wherever `find` finds something in a value, `hint` matches within that value alone,
    so it holds in a larger buffer around it as well. No hint matches a zero byte.
    """

    kind: str
    hint: bytes
    worth: Callable[[bytes, int], bool]
    find: Callable[[bytes], Hits]
