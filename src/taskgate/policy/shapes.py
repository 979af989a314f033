"""What objects look like that are no dotted names: commands, paths, addresses.

For each such shape, how an object is read and how a pattern is. Both come to parts, which
`model.names` matches.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from taskgate.model.argv import split_argv
from taskgate.model.endpoints import kind_of, plain_host, split_endpoint
from taskgate.model.names import MANY, Guarded, NamePattern, PartPattern, starred
from taskgate.model.paths import split_path
from taskgate.policy.vocabulary import NameShape

# A word of a pattern, one that has quotes in it, and the pieces of such a word.
_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*"|['"])+""")
_QUOTED_WORD = re.compile(r"""(?:[^\s'"*]|'[^']*'|"[^"]*")+\Z""")
_PIECE = re.compile(r"""'([^']*)'|"([^"]*)"|([^\s'"]+)""")

Parts = tuple[str | None, ...]
MAX_WORDS: Final = 100
_ENDPOINT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.*-]+)):(\d{1,5}|\*)\Z")


class PatternError(ValueError):
    """A pattern that cannot be meant. `hint` says what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Shape:
    """How one shape of object is read, and patterns over it. `about` is for the reference.

    `read` raises ValueError, `parse` PatternError.
    """

    about: str
    read: Callable[[str], Parts]
    parse: Callable[[str], NamePattern]


def _command_pattern(text: str) -> NamePattern:
    """`systemctl restart web-*`: a word each; `*` within a word, `**` for any further words.

    Quotes as in a shell; a star in quotes is a star.
    """
    if text == "*":
        raise PatternError(
            "*: a command of one word, or any command?", 'write "**" for any command'
        )
    parts = []
    for word in _words(text):
        if word == "**":
            parts.append(MANY)
        elif "**" in word and not isinstance(word, Guarded):
            raise PatternError(f"{word}: ** is a word of its own", "write * within a word")
        else:
            parts.append(PartPattern((str(word),)) if isinstance(word, Guarded) else _part(word))
    return _checked(parts, text)


def _words(text: str) -> list[str]:
    """Words of a pattern; those with quotes in them come as `Guarded`, since nothing in them is
    a wildcard."""
    if any(c in text for c in "\\\n\r\t"):
        raise PatternError(f"{text}: no backslashes, tabs or line ends", "use single quotes")
    words: list[str] = []
    for raw in _WORD.findall(text):
        if "'" not in raw and '"' not in raw:
            words.append(raw)
        elif not _QUOTED_WORD.match(raw):
            raise PatternError(
                f"{raw}: quotes that do not add up, or a star beside them",
                "quote the whole word; a star in quotes is a star",
            )
        else:
            words.append(Guarded("".join(map("".join, _PIECE.findall(raw)))))
    return words


def _path_pattern(text: str) -> NamePattern:
    """`/srv/app/**`: `*` within a folder's name, `**` for any number of folders."""
    if text in ("*", "**"):
        return NamePattern((PartPattern(("/",)), MANY))
    if not text.startswith("/"):
        raise PatternError(f"{text}: paths are absolute", f"write /{text} or /**/{text}")
    names = text[1:].split("/") if text != "/" else []
    if names and names[-1] == "":
        raise PatternError(
            f"{text}: a slash at the end", f"write {text}** for all below, or leave it out"
        )
    if any(name in ("", ".", "..") for name in names):
        raise PatternError(f"{text}: no empty parts, . or .. in a path", "write the plain path")
    if any("**" in name and name != "**" for name in names):
        raise PatternError(f"{text}: ** is a part of its own", "write /**/ between slashes")
    parts = [MANY if name == "**" else _part(name) for name in names]
    return _checked([PartPattern(("/",)), *parts], text)


def _endpoint_pattern(text: str) -> NamePattern:
    """`db.internal:5432`, `*.internal:443`, `10.0.0.5:*`, `[2001:db8::1]:22`.

    A star stands for names or for addresses, whichever the rest of the host is; alone for both.
    """
    anything = PartPattern(("", ""))
    if text == "*":
        return NamePattern((anything, anything, anything))
    match = _ENDPOINT.match(text.lower()) if text.isascii() else None
    if match is None or (match[3] != "*" and not 0 < int(match[3]) < 65536):
        raise PatternError(f"{text}: not host:port", "write db.internal:5432, or *.internal:443")
    host = match[1] or match[2]
    if "*" not in host:
        try:
            host = plain_host(host)
        except ValueError as error:
            raise PatternError(f"{text}: {error}") from None
    elif host.endswith(".") or ".." in host:
        raise PatternError(f"{text}: no host is named like that", "leave the dot out")
    kind = anything if host == "*" else PartPattern((kind_of(host),))
    port = match[3].lstrip("0") or "0"
    return _checked([kind, _part(host), _part(port)], text)


def _checked(parts: list[PartPattern], text: str) -> NamePattern:
    if not parts:
        raise PatternError("an empty pattern matches nothing")
    if len(parts) > MAX_WORDS:
        raise PatternError(f"{text[:40]} ...: more than {MAX_WORDS} parts")
    if any(a.many and b.many for a, b in pairwise(parts)):
        raise PatternError(f"{text}: two ** in a row say no more than one")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"):
            raise PatternError(f"an invisible character (U+{ord(character):04X}) in the pattern")
    return NamePattern(tuple(parts))


def _part(text: str) -> PartPattern:
    try:
        return starred(text)
    except ValueError as error:
        raise PatternError(f"{text}: {error}") from None


SHAPES: Final[Mapping[NameShape, Shape]] = {
    NameShape.COMMAND: Shape("a command, word by word", split_argv, _command_pattern),
    NameShape.PATH: Shape("`/path`", split_path, _path_pattern),
    NameShape.ENDPOINT: Shape("`host:port`", split_endpoint, _endpoint_pattern),
}
