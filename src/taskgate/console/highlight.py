"""SQL in colours, by PostgreSQL's own scanner: what looks like a comment here is one there."""

from __future__ import annotations

from typing import Final

import postgast
from markupsafe import Markup, escape

from taskgate.api.visible import visible

MAX_COLOURED_BYTES = 64 * 1024
# Words after which something is changed or reached; an eye should stop at them.
_LOUD_WORDS: Final = """
    INSERT UPDATE DELETE_P MERGE TRUNCATE DROP ALTER CREATE GRANT REVOKE COPY CALL DO EXECUTE
    SET INTO LOCK_P REFRESH REINDEX VACUUM COMMENT IMPORT_P SECURITY TO PROGRAM
"""
_LOUD: Final = frozenset(_LOUD_WORDS.split())
_STRINGS: Final = frozenset(("SCONST", "USCONST", "BCONST", "XCONST"))
_NUMBERS: Final = frozenset(("ICONST", "FCONST"))
_COMMENTS: Final = frozenset(("SQL_COMMENT", "C_COMMENT"))


def sql_markup(text: str) -> Markup:
    """`text` as HTML: hidden characters written out, keywords, strings and comments told apart.

    Where the scanner gives up, the text is shown without colours, never left out.
    """
    spans = _spans(text)
    parts: list[Markup] = []
    raw = text.encode("utf-8", "surrogatepass")
    at = 0
    for start, end, kind in spans:
        parts.append(_shown(raw[at:start]))
        parts.append(Markup('<span class="{}">{}</span>').format(kind, _shown(raw[start:end])))
        at = end
    parts.append(_shown(raw[at:]))
    return Markup("").join(parts)


def _spans(text: str) -> list[tuple[int, int, str]]:
    if len(text) > MAX_COLOURED_BYTES:
        return []
    try:
        tokens = postgast.scan(text).tokens
        names = [
            (token.start, token.end, postgast.pg_query_pb2.Token.Name(token.token), token)
            for token in tokens
        ]
    except (postgast.PgQueryError, ValueError):
        return []
    found = []
    for start, end, name, token in names:
        kind = _kind(name, bool(token.keyword_kind))
        if kind:
            found.append((start, end, kind))
    return found


def _kind(name: str, keyword: bool) -> str:
    if name in _COMMENTS:
        return "comment"
    if name in _STRINGS:
        return "string"
    if name in _NUMBERS:
        return "number"
    if keyword and name in _LOUD:
        return "loud"
    return "keyword" if keyword else ""


def _shown(raw: bytes) -> Markup:
    return escape(visible(raw.decode("utf-8", "replace")))
