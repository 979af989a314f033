"""Commands as names: one spelling of an argument vector, for every layer.

The spelling is that of a POSIX shell (XCU 2.2, Quoting), so that it can be read and pasted. Two
words are marked, and can be by nothing else, because a shell's own `?` and `$` would be quoted:
an unquoted `?` is a word that could not be resolved, and `$'...'` is one that only a literal may
permit (`model.names.Guarded`).
"""

import re
import shlex
from collections.abc import Sequence

from taskgate.model.names import Guarded

_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")
_PIECE = re.compile(r"""'([^']*)'|"([^"]*)"|([^\s'"]+)""")
_UNRESOLVED = "?"


def spell_argv(words: Sequence[str | None]) -> str:
    """The spelling of a command's words."""
    return " ".join(_spelled(word) for word in words)


def _spelled(word: str | None) -> str:
    if word is None:
        return _UNRESOLVED
    quoted = shlex.quote(word)
    if isinstance(word, Guarded):
        return "$" + (quoted if quoted.startswith("'") else f"'{quoted}'")
    return quoted


def split_argv(text: str) -> tuple[str | None, ...]:
    """The words of a spelled command; None for one that could not be resolved.

    Raises: ValueError where quotes do not add up.
    """
    words: list[str | None] = []
    at = 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            raise ValueError(f"not a command: {text!r}")
        raw = match.group()
        if raw == _UNRESOLVED:
            words.append(None)
        elif raw.startswith("$"):
            words.append(Guarded(_unquoted(raw[1:])))
        else:
            words.append(_unquoted(raw))
        at = match.end()
        if at < len(text):
            if text[at] != " ":
                raise ValueError(f"not a command: {text!r}")
            at += 1
    return tuple(words)


def _unquoted(raw: str) -> str:
    return "".join("".join(pieces) for pieces in _PIECE.findall(raw))
