"""What a script does: actions, lineage and effects of each of its statements.

Pure: what names mean comes from a `Catalog`; names that it lacks are handed back to be looked up,
and the analysis is begun again.
"""

import hashlib
from dataclasses import replace

from taskgate.model.action import Action
from taskgate.sql.accesses import Findings
from taskgate.sql.catalog import Catalog
from taskgate.sql.conclude import conclude
from taskgate.sql.conversions import converted
from taskgate.sql.facts import (
    Analysis,
    ColumnRef,
    CopySpec,
    Effects,
    NeedNames,
    Output,
    SessionNames,
    StatementFacts,
)
from taskgate.sql.names import Names
from taskgate.sql.outcome import Outcome, Session
from taskgate.sql.reader import Reader, too_deep
from taskgate.sql.script import MAX_FINGERPRINTED_CHARS, Script, Statement, skeleton

__all__ = [
    "Analysis",
    "ColumnRef",
    "CopySpec",
    "Effects",
    "NeedNames",
    "Output",
    "SessionNames",
    "StatementFacts",
    "analyse",
]

# Statements that differ in constants only have the same shape; of others every word counts.
_SHAPED = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"})
_ENDS = frozenset({"commit", "rollback", "rollback_to", "two_phase"})


def analyse(script: Script, catalog: Catalog, names: SessionNames) -> Analysis | NeedNames:
    """Reads a whole script.

    A statement that may change what names mean leaves those of later statements in the same script
    unresolved (`?.name`): a narrow rule does not match them, and sent by itself such a statement
    is resolved as usual.

    Raises:
        Unreadable: it is nested too deep.
    """
    resolver = Names(catalog)
    session = Session(names)
    found: list[StatementFacts] = []
    ended = False
    for statement in script.statements:
        if ended and not names.settled:
            # What an ended transaction had changed is taken back, or was for its time only.
            resolver.path_changed = resolver.objects_changed = True
        facts = _read(statement, resolver, session)
        found.append(facts)
        session.apply(facts)
        if facts.effects.may_change_resolution:
            resolver.path_changed = True
            resolver.objects_changed = resolver.objects_changed or not _sets_only(facts)
        ended = ended or facts.effects.transaction in _ENDS
    if resolver.needed:
        return NeedNames(frozenset(resolver.needed))
    return Analysis(
        tuple(found),
        catalog.digest_of(resolver.used),
        catalog.identity_of(resolver.used),
        _shape(script.statements, found),
    )


def _read(statement: Statement, resolver: Names, session: Session) -> StatementFacts:
    reader = Reader(resolver, statement.tag.split(" ", 1)[0].lower())
    session.text = statement.text
    try:
        outcome = reader.statement(statement.node, session)
    except RecursionError:
        raise too_deep() from None
    return _facts(statement.tag, reader.findings, converted(reader, outcome))


def _facts(tag: str, findings: Findings, outcome: Outcome) -> StatementFacts:
    actions = dict.fromkeys(conclude(findings))
    beside = outcome.beside
    for facts in beside:
        actions.update(dict.fromkeys(facts.actions))
    effects = replace(
        outcome.effects,
        may_change_resolution=findings.may_change_resolution
        or any(f.effects.may_change_resolution for f in beside),
        settings=tuple(findings.settings),
    )
    return StatementFacts(
        tag=tag,
        actions=tuple(actions),
        outputs=outcome.outputs,
        returns_rows=outcome.returns_rows,
        effects=effects,
        opaque=findings.opaque or any(f.opaque for f in beside),
        relations=frozenset(findings.relations).union(*(f.relations for f in beside)),
        compares_unknown=findings.compares_unknown or any(f.compares_unknown for f in beside),
        compares_functions=frozenset(findings.compares_functions).union(
            *(f.compares_functions for f in beside)
        ),
        session_bound=findings.session_bound or any(f.session_bound for f in beside),
        reads_constants=findings.reads_constants or any(f.reads_constants for f in beside),
        unclear=tuple(findings.unclear),
    )


def _sets_only(facts: StatementFacts) -> bool:
    """Whether a statement changes names by its settings alone (`SET search_path`)."""
    return facts.tag in ("SET", "RESET") or (
        not facts.opaque
        and all(a.verb in ("set", "select", "show") or not a.write for a in facts.actions)
    )


def _shape(statements: tuple[Statement, ...], facts: list[StatementFacts]) -> str:
    digest = hashlib.sha256()
    for statement, one in zip(statements, facts, strict=True):
        digest.update(statement.tag.encode())
        # The fingerprint alone takes `WHERE true` for no condition, and any LIMIT for none.
        shaped = statement.tag in _SHAPED and len(statement.text) <= MAX_FINGERPRINTED_CHARS
        digest.update((skeleton(statement.text) if shaped else statement.text).encode())
        digest.update(statement.fingerprint.encode())
        digest.update(repr([_plain(action) for action in one.actions]).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _plain(action: Action) -> tuple[object, ...]:
    return (
        action.verb,
        action.object,
        action.kind,
        action.write,
        action.columns,
        action.compared,
        action.via,
        action.complete,
    )
