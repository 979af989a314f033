"""Statements about the session and its transaction: SET, SHOW, BEGIN, LISTEN, LOCK and kin.

Source: PostgreSQL manual, part VI, the commands of these names.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.model.names import spell
from taskgate.sql import settings
from taskgate.sql.facts import Effects, Output
from taskgate.sql.nodes import constant_text
from taskgate.sql.outcome import NOTHING, Outcome, Session
from taskgate.sql.writes import note_write, open_target

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

Handler = Callable[["Reader", Any, Session], Outcome]


def _transaction(reader: "Reader", stmt: pb.TransactionStmt, session: Session) -> Outcome:
    what = _TRANSACTION.get(stmt.kind)
    if what is None:
        reader.unclear("a transaction statement that is not known here")
        return NOTHING
    if what == "two_phase":
        reader.findings.act(Action("two_phase", spell(stmt.gid), "transaction", True))
    else:
        reader.findings.act(Action("transaction", what, "statement", False))
    return Outcome(
        effects=Effects(transaction=what, savepoint=stmt.savepoint_name, chain=stmt.chain)
    )


_TRANSACTION = {
    pb.TRANS_STMT_BEGIN: "begin",
    pb.TRANS_STMT_START: "begin",
    pb.TRANS_STMT_COMMIT: "commit",
    pb.TRANS_STMT_ROLLBACK: "rollback",
    pb.TRANS_STMT_SAVEPOINT: "savepoint",
    pb.TRANS_STMT_RELEASE: "release",
    pb.TRANS_STMT_ROLLBACK_TO: "rollback_to",
    pb.TRANS_STMT_PREPARE: "two_phase",
    pb.TRANS_STMT_COMMIT_PREPARED: "two_phase",
    pb.TRANS_STMT_ROLLBACK_PREPARED: "two_phase",
}

# Names by which the grammar hands down forms of SET that are no settings.
_MULTI = frozenset({"TRANSACTION", "SESSION CHARACTERISTICS", "TRANSACTION SNAPSHOT"})


def _set(reader: "Reader", stmt: pb.VariableSetStmt, session: Session) -> Outcome:
    findings = reader.findings
    if stmt.kind == pb.VAR_SET_MULTI:
        if stmt.name not in _MULTI:
            reader.unclear("a form of SET that is not known here")
        findings.act(Action("transaction", "set_transaction", "statement", False))
        return NOTHING
    if stmt.kind == pb.VAR_RESET_ALL:
        findings.may_change_resolution = True
        findings.settings.append(("*", None))
        findings.act(Action("set", "*", "safe_setting", False))
        return NOTHING
    if stmt.kind in (pb.VAR_SET_DEFAULT, pb.VAR_RESET, pb.VAR_SET_CURRENT):
        settings.note_set(findings, stmt.name, None)
        return NOTHING
    if stmt.kind != pb.VAR_SET_VALUE:
        reader.unclear("a form of SET that is not known here")
        return NOTHING
    values = [constant_text(node) for node in stmt.args]
    known = [v for v in values if v is not None]
    told = len(known) == len(values)
    settings.note_set(findings, stmt.name, ", ".join(known) if told else None, told=told)
    return NOTHING


def _show(reader: "Reader", stmt: pb.VariableShowStmt, session: Session) -> Outcome:
    settings.note_show(reader.findings, stmt.name)
    nothing: frozenset[Any] = frozenset()
    if stmt.name.lower() == "all":
        outputs = tuple(Output(n, nothing, False) for n in ("name", "setting", "description"))
    else:
        outputs = (Output(stmt.name, nothing, False),)
    return Outcome(outputs, True)


def _discard(reader: "Reader", stmt: pb.DiscardStmt, session: Session) -> Outcome:
    word = pb.DiscardMode.Name(stmt.target).removeprefix("DISCARD_").lower()
    reader.findings.act(Action("discard", word, "statement", True))
    reader.findings.may_change_resolution = True
    everything = stmt.target == pb.DISCARD_ALL
    if everything:
        reader.findings.settings.append(("*", None))
    return Outcome(effects=Effects(discards_all=everything, unlistens=("*",) if everything else ()))


def _listen(reader: "Reader", stmt: pb.ListenStmt, session: Session) -> Outcome:
    reader.findings.act(Action("listen", spell(stmt.conditionname), "channel", False))
    return Outcome(effects=Effects(listens=(stmt.conditionname,)))


def _unlisten(reader: "Reader", stmt: pb.UnlistenStmt, session: Session) -> Outcome:
    # Only gives up what the session has, so it needs no rule.
    name = stmt.conditionname
    reader.findings.act(Action("unlisten", spell(name) if name else "*", "builtin", False))
    return Outcome(effects=Effects(unlistens=(name or "*",)))


def _notify(reader: "Reader", stmt: pb.NotifyStmt, session: Session) -> Outcome:
    reader.findings.act(Action("notify", spell(stmt.conditionname), "channel", True))
    return NOTHING


def _lock(reader: "Reader", stmt: pb.LockStmt, session: Session) -> Outcome:
    for node in stmt.relations:
        target = open_target(reader, node.range_var)
        if stmt.mode == _ACCESS_SHARE:
            # No more than what any SELECT takes.
            reader.findings.accesses.append(target.access)
        else:
            note_write(reader, "lock", target, None)
    return NOTHING


# AccessShareLock of PostgreSQL's storage/lockdefs.h.
_ACCESS_SHARE = 1


def _constraints(reader: "Reader", stmt: pb.ConstraintsSetStmt, session: Session) -> Outcome:
    # When constraints of this transaction are checked; they are checked all the same.
    reader.findings.act(Action("transaction", "set_constraints", "statement", False))
    reader.findings.opaque = True
    return NOTHING


HANDLERS: dict[str, Handler] = {
    "transaction_stmt": _transaction,
    "variable_set_stmt": _set,
    "variable_show_stmt": _show,
    "discard_stmt": _discard,
    "listen_stmt": _listen,
    "unlisten_stmt": _unlisten,
    "notify_stmt": _notify,
    "lock_stmt": _lock,
    "constraints_set_stmt": _constraints,
}
