"""Text that a stranger wrote, made safe to judge by eye.

An approver agrees to what they see. Control characters can move a terminal's cursor, direction
marks reorder what stands on the screen (Unicode TR 36), invisible characters split a name, and a
thousand blank lines push the rest out of sight. All of these are shown for what they are.
"""

from __future__ import annotations

import re
import unicodedata

# Bidirectional marks, joiners and fillers that show as nothing; Unicode calls some of the last
# letters, so their category does not tell.
_FILLERS = frozenset("\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u2800\u3164\uffa0")
_LONG_SPACE = re.compile(r"[^\S\n]{40,}")
_LONG_BLANK = re.compile(r"(?:[^\S\n]*\n){6,}")


def is_hidden(character: str) -> bool:
    """Whether the character shows as nothing, or steers how others show."""
    if character in "\n\t":
        return False
    if character in _FILLERS or "\ufe00" <= character <= "\ufe0f":
        return True
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or (
        category == "Zs" and character != " "
    )


def escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:x}}}"


def visible(text: str, *, lines: bool = True) -> str:
    """`text` with every hidden character written out (`\\x1b`, `\\u{202e}`) and long runs of blank
    space counted instead of shown. With `lines` False, line ends are written out too."""
    if text.isascii() and text.isprintable():
        shown = text
    else:
        # A carriage return before a line end is only Windows's line end.
        shown = "".join(escaped(c) if is_hidden(c) else c for c in text.replace("\r\n", "\n"))
    if not lines:
        return _LONG_SPACE.sub(_spaces, shown.replace("\n", "\\n").replace("\t", " "))
    shown = _LONG_SPACE.sub(_spaces, shown)
    return _LONG_BLANK.sub(_blanks, shown)


def hidden_count(text: str) -> int:
    """How many characters of `text` an eye would not have seen."""
    return sum(1 for c in text.replace("\r\n", "\n") if is_hidden(c))


def _spaces(match: re.Match[str]) -> str:
    return f" ⟨{len(match[0])} spaces⟩ "


def _blanks(match: re.Match[str]) -> str:
    count = match[0].count("\n")
    return f"\n⟨{count} line ends⟩\n"
