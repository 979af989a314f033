"""SQL text to statements, by PostgreSQL's own grammar.

Source: PostgreSQL manual, section 4.1 (lexical structure); libpg_query, which is PostgreSQL's
parser as a library.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from google._upb import _message
from google.protobuf.message import DecodeError
from postgast import PgQueryError, fingerprint, parse, pg_query_pb2, scan

from taskgate.model.errors import OverLimit, Unreadable
from taskgate.model.limits import KIB, MAX_STATEMENT_BYTES, MAX_STATEMENTS_PER_MESSAGE
from taskgate.sql.nodes import Node
from taskgate.sql.tags import tag_of

# The decoder's own limit of 100 levels is some 30 levels of SQL. What may reach it is bounded by
# `_chain_bound` before the parser sees it.
_message.SetAllowOversizeProtos(True)

# Levels of nesting that the C stack of parser and decoder takes with room to spare: 1 MiB takes
# 1,900 of the worst kind.
_MAX_CHAIN = 1_200
# A level of nesting takes two bytes of text, so shorter texts need no look at all.
_MAX_UNSCANNED_BYTES = 2 * _MAX_CHAIN

_TOKEN = pg_query_pb2.Token
_OPENING = frozenset({_TOKEN.ASCII_40, _TOKEN.ASCII_91, _TOKEN.CASE})
_CLOSING = frozenset({_TOKEN.ASCII_41, _TOKEN.ASCII_93, _TOKEN.END_P})
# After these a new expression begins beside the last one, not below it.
_PARTING = frozenset(
    {_TOKEN.ASCII_44, _TOKEN.AND, _TOKEN.OR, _TOKEN.WHEN, _TOKEN.THEN, _TOKEN.ELSE}
)
# So it does after these, but they nest among themselves.
_NESTING = frozenset({_TOKEN.UNION, _TOKEN.INTERSECT, _TOKEN.EXCEPT, _TOKEN.JOIN})
_LEAVES = frozenset(
    {
        _TOKEN.IDENT,
        _TOKEN.SCONST,
        _TOKEN.ICONST,
        _TOKEN.FCONST,
        _TOKEN.SQL_COMMENT,
        _TOKEN.C_COMMENT,
    }
)
_COMMENTS = frozenset({_TOKEN.SQL_COMMENT, _TOKEN.C_COMMENT})
_CONSTANTS = frozenset(
    {
        _TOKEN.SCONST,
        _TOKEN.USCONST,
        _TOKEN.BCONST,
        _TOKEN.XCONST,
        _TOKEN.ICONST,
        _TOKEN.FCONST,
        _TOKEN.PARAM,
    }
)
_NOT = _TOKEN.NOT
_SEMICOLON = _TOKEN.ASCII_59
# Longer statements are told apart by their exact text: reading them once more would be slow.
MAX_FINGERPRINTED_CHARS = 64 * KIB


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: `text` is its exact slice of the script, `tag` its command tag without
    counts, `node` its parse tree, `fingerprint` the same for statements that differ in constants.
    """

    text: str
    tag: str
    node: Node
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Script:
    """A whole message's text. An empty one has no statements."""

    text: str
    statements: tuple[Statement, ...]


class SyntaxProblem(Unreadable):
    """The grammar refuses the text. `position` is a character offset (0-based), None if unknown."""

    def __init__(self, message: str, *, position: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.position = position


def parse_script(text: str) -> Script:
    """Reads a script of any number of statements.

    Raises:
        OverLimit: longer than MAX_STATEMENT_BYTES, or more than MAX_STATEMENTS_PER_MESSAGE.
        Unreadable: it does not parse, holds a NUL byte or is nested too deep. A SyntaxProblem
            carries the position.
    """
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SyntaxProblem(
            "the text is not valid Unicode", position=error.start, hint="send UTF-8"
        ) from None
    if len(raw) > MAX_STATEMENT_BYTES:
        raise OverLimit(
            f"the statement is {len(raw)} bytes long; at most {MAX_STATEMENT_BYTES} are read",
            hint="send bulk data by COPY, or in several statements",
        )
    if b"\0" in raw:
        raise SyntaxProblem("a NUL byte in the text", position=text.index("\0"))
    try:
        if len(raw) > _MAX_UNSCANNED_BYTES and _chain_bound(text) > _MAX_CHAIN:
            raise _too_deep()
        found = parse(text).stmts
    except PgQueryError as error:
        raise _syntax_problem(error) from None
    except DecodeError:
        raise _too_deep() from None
    if len(found) > MAX_STATEMENTS_PER_MESSAGE:
        raise OverLimit(
            f"{len(found)} statements in one message; "
            f"at most {MAX_STATEMENTS_PER_MESSAGE} are read",
            hint="send them in several messages",
        )
    return Script(text, tuple(_statement(raw, one) for one in found))


@lru_cache(maxsize=2_000)
def parse_definition(text: str) -> Script:
    """A view's definition, as the catalog prints it; remembered by its text.

    Raises:
        Unreadable: as `parse_script`.
    """
    return parse_script(text)


def _statement(raw: bytes, found: pg_query_pb2.RawStmt) -> Statement:
    start = found.stmt_location
    end = start + found.stmt_len if found.stmt_len else len(raw)
    text = raw[start:end].decode("utf-8")
    if len(text) <= MAX_FINGERPRINTED_CHARS:
        mark = fingerprint(text).hex
    else:
        mark = sha256(text.encode("utf-8")).hexdigest()
    return Statement(text, tag_of(found.stmt), found.stmt, mark)


def skeleton(text: str) -> str:
    """The text of a statement with constants, parameters, comments and spacing left out."""
    raw = text.encode("utf-8")
    return " ".join(
        "?" if found.token in _CONSTANTS else raw[found.start : found.end].decode("utf-8")
        for found in scan(text).tokens
        if found.token not in _COMMENTS
    )


def _chain_bound(text: str) -> int:
    """An upper bound on the depth of the parse tree, from the tokens alone.

    Every level of the tree takes a token of its own. Within one pair of brackets (or CASE and END)
    the levels are at most the tokens since the last comma, AND or OR, which the parser keeps as
    flat lists; set operations, joins and NOT add up past those. Levels within brackets add to
    those around them.
    """
    deepest = 0
    below = 0  # levels of all brackets that are open
    flat = nested = 0
    stack: list[tuple[int, int, int]] = []
    for found in scan(text).tokens:
        token = found.token
        if token in _LEAVES:
            continue
        if token in _PARTING:
            flat = 0
        elif token in _OPENING:
            stack.append((below, flat, nested))
            below += flat + nested + 1
            flat = nested = 0
        elif token in _CLOSING:
            if stack:
                below, flat, nested = stack.pop()
            flat += 1
        elif token in _NESTING:
            nested += 1
            flat = 0
        elif token == _NOT:
            nested += 1
        elif token == _SEMICOLON:
            below = flat = nested = 0
            stack.clear()
        else:
            flat += 1
        deepest = max(deepest, below + flat + nested)
    return deepest


def _too_deep() -> Unreadable:
    return Unreadable(
        "the statement is nested too deep to be read",
        hint="use fewer levels of brackets, subqueries or chained operators",
    )


def _syntax_problem(error: PgQueryError) -> SyntaxProblem:
    # The parser counts characters from 1; 0 is unknown.
    position = error.cursorpos - 1 if error.cursorpos > 0 else None
    return SyntaxProblem(error.message, position=position)
