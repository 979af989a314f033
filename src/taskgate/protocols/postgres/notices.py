"""What the resource says beside rows, made safe: errors, notices and notifications.

Their texts quote values: a constraint's detail, a failed cast, RAISE in a function. Where a
statement reaches masked columns, or code that might, only what cannot quote data is kept. That a
text is safe is told by who raised it, and never by the SQLSTATE alone, which a function may choose:

- The parser, about the client's own text: its source file, with a position in that text, and with
  no context. Functions parse too (`email::regtype`, `query_to_xml`); PostgreSQL then gives a
  context, or an internal position instead.
- The server's own administration, locks and constraints, whose messages name objects only. Their
  details show rows, and are dropped.

Source: PostgreSQL documentation, "Error and Notice Message Fields"; the calls of `ereport` in
PostgreSQL 13 to 18 for what each source file puts into its messages.
"""

from collections.abc import Iterable, Sequence

from taskgate.masking.content import KindMasker
from taskgate.protocols.postgres.conditions import condition_name

Fields = Sequence[tuple[str, str]]

WITHHELD_PAYLOAD = "[masked]"
_HINT = (
    "The statement reaches masked columns, or code that might. The database's own log has the "
    "full text; a task without the mask shows it here."
)
# Severity, SQLSTATE, source line and routine: written by the server's code alone.
_ALWAYS = frozenset("SVCFLR")
_NAMES = frozenset("stcdn")
_CODED = frozenset("SVCPpFLR")

_PARSER_FILES = frozenset((
    "analyze.c", "gram.y", "namespace.c", "parse_agg.c", "parse_clause.c", "parse_coerce.c",
    "parse_collate.c", "parse_cte.c", "parse_enr.c", "parse_expr.c", "parse_func.c",
    "parse_jsontable.c", "parse_merge.c", "parse_node.c", "parse_oper.c", "parse_param.c",
    "parse_relation.c", "parse_target.c", "parse_type.c", "parse_utilcmd.c", "parser.c",
    "regproc.c", "scan.l", "scansup.c",
))  # fmt: skip
# By SQLSTATE, the files whose messages under it are fixed, or name relations and constraints.
_LOCKED_ROWS = frozenset((
    "execMain.c", "heapam.c", "heapam_handler.c", "nodeLockRows.c", "nodeModifyTable.c",
    "predicate.c", "snapmgr.c", "trigger.c",
))  # fmt: skip
_CONSTRAINTS = frozenset((
    "domains.c", "execExprInterp.c", "execIndexing.c", "execMain.c", "execPartition.c",
    "nbtinsert.c", "nodeModifyTable.c", "ri_triggers.c", "tuplesort.c", "tuplesortvariants.c",
))  # fmt: skip
_POSTGRES = frozenset(("postgres.c",))
_SAFE = {
    "42501": frozenset(("aclchk.c",)),
    "40001": _LOCKED_ROWS,
    "40P01": frozenset(("deadlock.c",)),
    "55P03": _LOCKED_ROWS | {"postgres.c", "lmgr.c", "namespace.c"},
    "57014": _POSTGRES, "57P01": _POSTGRES, "57P02": _POSTGRES, "57P03": _POSTGRES,
    "57P05": _POSTGRES, "25P02": _POSTGRES, "25P03": _POSTGRES, "25P04": _POSTGRES,
    "25001": frozenset(("xact.c",)), "25P01": frozenset(("xact.c",)),
    "25006": frozenset(("utility.c",)),
    "54001": frozenset(("postgres.c", "stack_depth.c")),
    "23502": _CONSTRAINTS, "23503": _CONSTRAINTS, "23505": _CONSTRAINTS, "23514": _CONSTRAINTS,
    "23P01": _CONSTRAINTS, "44000": _CONSTRAINTS,
}  # fmt: skip


def scrub_fields(
    fields: Fields, *, tainted: bool, kinds: KindMasker | None = None
) -> tuple[tuple[str, str], ...]:
    """The fields of an ErrorResponse or NoticeResponse, (code, text) each, safe to pass on.

    `tainted` says that the text may quote a masked column's value: the statement reaches one, or
    runs code that cannot be read, or did so earlier in this transaction (deferred constraints
    speak at COMMIT). `kinds` hides values by content in whatever is kept.
    """
    kept = _untainted(fields) if tainted else tuple(fields)
    if not kinds:
        return kept
    return tuple((code, t if code in _CODED else kinds.hide_text(t)) for code, t in kept)


def scrub_payload(payload: str, *, tainted: bool, kinds: KindMasker | None = None) -> str:
    """The payload of a NotificationResponse, safe to pass on. `tainted` says that whoever sent it
    may have put a masked value into it."""
    if tainted:
        return WITHHELD_PAYLOAD if payload else ""
    return kinds.hide_text(payload) if kinds else payload


def _untainted(fields: Fields) -> tuple[tuple[str, str], ...]:
    """What of `fields` cannot quote data."""
    present = dict(reversed(fields))
    source = present.get("F", "")
    if source in _PARSER_FILES and "P" in present and not present.keys() & {"W", "p", "q"}:
        # About the client's own text: everything that it says comes from there and the catalog.
        return _only(fields, _ALWAYS | _NAMES | {"M", "D", "H", "P"})
    sqlstate = present.get("C", "")
    if source in _SAFE.get(sqlstate, ()):
        names = _NAMES if source in _CONSTRAINTS else frozenset[str]()
        return _only(fields, _ALWAYS | names | {"M"})
    message = (
        f"{condition_name(sqlstate)}: the gate withheld the text, because it might quote a masked "
        "value"
    )
    return (*_only(fields, _ALWAYS), ("M", message), ("H", _HINT))


def _only(fields: Fields, codes: Iterable[str]) -> tuple[tuple[str, str], ...]:
    wanted = frozenset(codes)
    return tuple((code, text) for code, text in fields if code in wanted)
