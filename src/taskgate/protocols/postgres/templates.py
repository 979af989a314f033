"""Texts that differ in plain literals only, and so read alike.

`SELECT a FROM t WHERE id = 7` and `... = 8` are judged alike where nothing in the analysis looked
at the value of a constant. The template of a text has a mark in place of each plain literal; two
texts of one template have the same tokens but for those, so that PostgreSQL's grammar makes the
same tree of them but for constants' values (docs, "Lexical Structure").

A text that holds anything which might be, or hide, a literal of another form has no template:
escape, Unicode, bit and dollar-quoted strings, comments, quoted identifiers.
"""

import re
from typing import Final

MAX_TEMPLATE_CHARS: Final = 16_384
STRING_MARK: Final = "\x01"

# A quote that follows one of these is not the start of a plain string: E'', U&'', B'', X'', N''.
_STRING: Final = re.compile(r"(?<![\w&$\x80-\U0010ffff])'[^']*(?:''[^']*)*'")
# Of nine digits at most, because wider ones are another kind of token; none that touches a letter,
# a dot, a dollar sign or a string.
_WHOLE: Final = re.compile(r"(?<![\w$.\x01\x80-\U0010ffff])[0-9]{1,9}(?![\w$.\x01\x80-\U0010ffff])")
# What may hide the end of a token. Whatever starts first of these is outside every string, and no
# string that was taken out begins before it: it is still there to be seen.
_OTHER: Final = re.compile(r"""['"]|--|/\*|\$(?![0-9])|\$[0-9]+[\w$\x80-\U0010ffff]""")


def template_of(text: str) -> str | None:
    """The text with marks in place of plain strings and whole numbers; None where it has no
    template."""
    if len(text) > MAX_TEMPLATE_CHARS or STRING_MARK in text:
        return None
    marked = _STRING.sub(STRING_MARK, text) if "'" in text else text
    if _OTHER.search(marked) is not None:
        return None
    return _WHOLE.sub("0", marked)
