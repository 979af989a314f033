"""Finds values of known kinds in text.

A clean text costs one scan by a linear automaton, whatever the number of kinds. Only where it sees
a hint does each kind look for itself, with its checksums.

This is a net under what nobody knew to be there. It does not hold against someone who may shape
the text (`reverse`, base64, a value cut in two): that takes column masks, which follow a value by
where it comes from.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import re2

from taskgate.masking.find_addresses import EMAIL, IPV4, IPV6
from taskgate.masking.find_numbers import CREDIT_CARD, IBAN, PHONE, US_SSN
from taskgate.masking.find_secrets import CLOUD_KEY, JWT, PRIVATE_KEY
from taskgate.masking.finder import Finder, TooManyCandidates, compile_bytes, digits_in
from taskgate.masking.folding import fold, foldable_pattern, unfold_span
from taskgate.model.errors import BadConfig

# In order of weight: of two kinds that claim the very same span the first one counts.
_FINDERS = (
    PRIVATE_KEY, CLOUD_KEY, JWT, CREDIT_CARD, IBAN, US_SSN, EMAIL, IPV6, IPV4, PHONE,
)  # fmt: skip
KINDS: tuple[str, ...] = tuple(finder.kind for finder in _FINDERS)
_RANK = {kind: rank for rank, kind in enumerate(KINDS)}
_HEX_TEXT = compile_bytes(rb"^\\x(?:[0-9A-Fa-f]{2})+$")


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value stands: `start` to `end` (exclusive), in the units of the text searched."""

    start: int
    end: int
    kind: str


class Detectors:
    """Finders for some kinds. Holds no state between calls."""

    __slots__ = ("_finders", "_hint", "kinds")

    def __init__(self, kinds: Iterable[str]) -> None:
        """Raises: BadConfig for a kind that is not in KINDS."""
        wanted = frozenset(kinds)
        unknown = sorted(wanted - _RANK.keys())
        if unknown:
            raise BadConfig(
                f"there is no detector for {', '.join(unknown)}",
                hint=f"The kinds are {', '.join(sorted(KINDS))}.",
            )
        self.kinds = tuple(kind for kind in KINDS if kind in wanted)
        self._finders = tuple(finder for finder in _FINDERS if finder.kind in wanted)
        hints = [rb"(?:" + finder.hint + rb")" for finder in self._finders]
        # What reads as something else, hex text (PostgreSQL's output of bytea) among it.
        self._hint: re2._Regexp = compile_bytes(rb"|".join((*hints, foldable_pattern())))

    def may_contain(self, data: bytes) -> bool:
        """False only if no value within `data`, however `data` is cut up, can be a hit.

        `data` may hold anything around and between the values: whole frames, several rows.
        """
        if not self._finders:
            return False
        return self._hint.search(data) is not None

    def first_hint(self, data: bytes, start: int) -> int:
        """Where, from `start` on, the first thing stands that may be part of a hit; -1 if there
        is none. No hint spans a zero byte: values joined by one are told apart."""
        match = self._hint.search(data, start) if self._finders else None
        return -1 if match is None else int(match.start())

    def find(self, text: str) -> list[Span]:
        """All hits in order, offsets in characters. Overlapping hits are joined into one."""
        data = text.encode("utf-8", "surrogatepass")
        spans = self.find_bytes(data)
        if not spans or len(data) == len(text):
            return spans
        return [
            Span(
                len(data[: s.start].decode("utf-8", "surrogatepass")),
                len(data[: s.end].decode("utf-8", "surrogatepass")),
                s.kind,
            )
            for s in spans
        ]

    def find_bytes(self, data: bytes) -> list[Span]:
        """All hits in order, offsets in bytes of `data` (UTF-8, or any superset of ASCII)."""
        return self.find_hinted(data) if self.may_contain(data) else []

    def find_hinted(self, data: bytes) -> list[Span]:
        """As `find_bytes`, for `data` of which `may_contain` or `first_hint` said yes."""
        found = self._look(data)
        folded = fold(data) if _may_fold(data) else None
        if folded is not None:
            text, offsets = folded
            found += [
                Span(*unfold_span(span.start, span.end, offsets), span.kind)
                for span in self._look(text)
            ]
        if data.startswith(b"\\x") and _HEX_TEXT.search(data) is not None:
            inner = bytes.fromhex(data[2:].decode())
            found += [Span(0, len(data), span.kind) for span in self.find_bytes(inner)]
        return joined(found)

    def _look(self, data: bytes) -> list[Span]:
        digits = digits_in(data)
        return [
            Span(start, end, finder.kind)
            for finder in self._finders
            if finder.worth(data, digits)
            for start, end in _hits(finder, data)
        ]


@lru_cache(maxsize=256)
def detectors_for(kinds: frozenset[str]) -> Detectors:
    """The detectors of these kinds, made once.

    Raises: BadConfig for a kind that is not in KINDS.
    """
    return Detectors(kinds)


def _may_fold(data: bytes) -> bool:
    return not data.isascii() or b"\\" in data or b"%" in data or b"&" in data


def _hits(finder: Finder, data: bytes) -> list[tuple[int, int]]:
    try:
        return list(finder.find(data))
    except TooManyCandidates:
        return [(0, len(data))]


def joined(spans: list[Span]) -> list[Span]:
    """Sorted, without overlaps: what touches is one span, of the kind that spans it.

    Where neither kind spans the whole, the weightier kind stands for both.
    """
    if len(spans) < 2:
        return spans
    spans.sort(key=lambda s: (s.start, -s.end, _RANK[s.kind]))
    out = [spans[0]]
    for span in spans[1:]:
        last = out[-1]
        if span.start >= last.end:
            out.append(span)
        elif span.end > last.end:
            kind = min(last.kind, span.kind, key=_RANK.__getitem__)
            out[-1] = Span(last.start, span.end, kind)
    return out
