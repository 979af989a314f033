"""Names of objects, and patterns over them: one spelling for every layer.

`Action.object`, `ColumnMask.relation` and the rules of a policy all hold dotted names. A part that
is not a plain lower-case identifier is quoted as SQL quotes it (PostgreSQL manual, section 4.1.1),
so that `sales."a.b"` and `"sales.a".b` stay two names. Nothing is folded here: names come resolved.
An unquoted `?` is a part that could not be resolved.

Commands (`model.argv`) and paths (`model.paths`) are names of parts too: words, folders.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*\Z")
_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')
# Each `*` costs one scan of the name at most; nobody needs more of them in one part.
MAX_STARS = 8


def spell(*parts: str) -> str:
    """The dotted spelling of a name, quoted where it must be."""
    return ".".join(p if _PLAIN.match(p) else '"' + p.replace('"', '""') + '"' for p in parts)


def split(name: str) -> tuple[str | None, ...]:
    """The parts of a spelled name; None for an unresolved part (`?`). No parts for no name.

    Raises: ValueError if quotes or dots do not add up.
    """
    return tuple(None if bare == "?" else bare or quoted for bare, quoted in _parts(name))


def _parts(name: str) -> list[tuple[str, str]]:
    """(bare, unquoted) for each part; one of the two is empty."""
    found: list[tuple[str, str]] = []
    at = 0
    while name:
        match = _PART.match(name, at)
        if match is None:
            raise ValueError(f"not a name: {name!r}")
        quoted, bare = match.group(1), match.group(2)
        found.append((bare or "", (quoted or "").replace('""', '"')))
        at = match.end()
        if at == len(name):
            break
        if name[at] != ".":
            raise ValueError(f"not a name: {name!r}")
        at += 1
    return found


class Guarded(str):
    """A part that no wildcard matches where something is permitted: code handed to an
    interpreter, say. Whoever permits it spells it out."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PartPattern:
    """One part: a literal (one piece), or the pieces around each `*`. `many`: `**`, any number of
    parts, none too."""

    pieces: tuple[str, ...]
    many: bool = False

    @property
    def literal(self) -> str | None:
        return self.pieces[0] if len(self.pieces) == 1 else None

    @property
    def anything(self) -> bool:
        return self.pieces == ("", "")

    def matches(self, part: str) -> bool:
        """Linear in the part for each piece: no backtracking over hostile names."""
        first, *middle = self.pieces
        if not middle:
            return part == first
        last = middle.pop()
        end = len(part) - len(last)
        at = len(first)
        if at > end or not part.startswith(first) or not part.endswith(last):
            return False
        for piece in middle:
            found = part.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    def surely_matches(self, part: str | None) -> bool:
        """The same where something is permitted."""
        if part is None:
            return self.anything
        if isinstance(part, Guarded):
            return self.literal == part
        return self.matches(part)

    def covers(self, other: "PartPattern") -> bool:
        """Whether every part that `other` matches is surely matched by this one too."""
        if self == other or self.anything:
            return True
        literal = other.literal
        if literal is not None:
            return self.matches(literal)
        # Of two starred patterns only `prefix*` over `prefix...*` is told; "no" is always safe.
        return (
            len(self.pieces) == 2
            and not self.pieces[1]
            and (other.pieces[0].startswith(self.pieces[0]))
        )


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A pattern over whole names. No parts at all is `*`: it matches every name.

    Otherwise it matches names of as many parts as it has, a `**` (`MANY`) left aside; a `*` never
    crosses a dot.
    """

    parts: tuple[PartPattern, ...]

    def __str__(self) -> str:
        return ".".join(spell_pattern(part) for part in self.parts) or "*"

    @property
    def everything(self) -> bool:
        return not self.parts

    @property
    def spans(self) -> bool:
        """Whether there is a `**` in it."""
        return any(part.many for part in self.parts)

    def matches(self, name: tuple[str | None, ...]) -> bool:
        """Whether `name` surely matches. An unresolved part is matched by `*` alone."""
        if not self.parts:
            return True
        if self.spans:
            return _spans(self.parts, name, PartPattern.surely_matches)
        return len(name) == len(self.parts) and all(
            p.surely_matches(n) for p, n in zip(self.parts, name, strict=True)
        )

    def may_match(self, name: tuple[str | None, ...]) -> bool:
        """Whether `name` might match once its unresolved parts are known."""
        if not self.parts:
            return True
        if self.spans:
            return _spans(self.parts, name, _may_match)
        return len(name) == len(self.parts) and all(
            n is None or p.matches(n) for p, n in zip(self.parts, name, strict=True)
        )

    def may_match_below(self, name: tuple[str | None, ...]) -> bool:
        """Whether a name that begins with `name` might match."""
        return not self.parts or bool(_places(self.parts, name, _may_match))

    def covers(self, other: "NamePattern") -> bool:
        """Whether every name that `other` matches is surely matched by this one too."""
        if not self.parts or self.parts == other.parts:
            return True
        *mine, last = self.parts
        if last.many and not any(part.many for part in mine):
            head = other.parts[: len(mine)]
        elif self.spans or other.spans:
            return False  # "no" is always safe
        else:
            mine, head = list(self.parts), other.parts
        return (
            len(head) == len(mine)
            and not any(part.many for part in head)
            and all(a.covers(b) for a, b in zip(mine, head, strict=True))
        )


MANY = PartPattern(("", ""), many=True)


def _may_match(pattern: PartPattern, part: str | None) -> bool:
    return part is None or pattern.matches(part)


def _spans(
    pattern: tuple[PartPattern, ...],
    name: tuple[str | None, ...],
    fits: Callable[[PartPattern, str | None], bool],
) -> bool:
    """Matching with `**`."""
    return len(pattern) in _places(pattern, name, fits)


def _places(
    pattern: tuple[PartPattern, ...],
    name: tuple[str | None, ...],
    fits: Callable[[PartPattern, str | None], bool],
) -> set[int]:
    """The places in the pattern that the name may have come to. It costs parts times parts at
    most, whatever the name."""
    places = _past_spans(pattern, {0})
    for part in name:
        went = set()
        for place in places:
            if place == len(pattern):
                continue
            # `**` takes what `*` would: an unresolved part too, a guarded one not.
            if fits(pattern[place], part):
                went.add(place if pattern[place].many else place + 1)
        places = _past_spans(pattern, went)
        if not places:
            break
    return places


def _past_spans(pattern: tuple[PartPattern, ...], places: set[int]) -> set[int]:
    reached = set(places)
    for place in places:
        at = place
        while at < len(pattern) and pattern[at].many:
            at += 1
            reached.add(at)
    return reached


def spell_pattern(part: PartPattern) -> str:
    """The spelling of one part that `parse_pattern` reads back."""
    if part.many:
        return "**"
    literal = part.literal
    return "*".join(part.pieces) if literal is None else spell(literal)


def parse_pattern(text: str) -> NamePattern:
    """A pattern from its spelling; `*` counts as a wildcard outside quotes only.

    Raises: ValueError with what is wrong.
    """
    if text == "*":
        return NamePattern(())
    found = _parts(text)
    if not found:
        raise ValueError("an empty pattern matches nothing")
    return NamePattern(tuple(_part_pattern(bare, quoted) for bare, quoted in found))


def _part_pattern(bare: str, quoted: str) -> PartPattern:
    return starred(bare) if bare else PartPattern((quoted,))


def starred(bare: str) -> PartPattern:
    """One part in which each `*` is a wildcard. Raises: ValueError."""
    pieces = tuple(bare.split("*"))
    if len(pieces) > MAX_STARS + 1:
        raise ValueError(f"more than {MAX_STARS} stars in one part of a pattern")
    if "" in pieces[1:-1]:
        raise ValueError("two stars in a row say no more than one")
    return PartPattern(pieces)
