"""What a completed statement did to the session's names."""

from taskgate.protocols.postgres.conversation import Conversation
from taskgate.protocols.postgres.pipeline import Run
from taskgate.protocols.postgres.session_names import Portal, Prepared
from taskgate.sql.facts import Effects, StatementFacts

_ENDS = frozenset({"commit", "rollback", "two_phase"})


def apply_effects(shared: Conversation, facts: StatementFacts, run: Run) -> None:
    """Takes in one statement's effects, once the resource says that it is complete."""
    effects = facts.effects
    names = shared.names
    if effects.transaction in _ENDS:
        # Seen here, because another transaction may begin before the next ReadyForQuery.
        names.transaction_ended(rolled_back=run.tags[-1] == "ROLLBACK")
        shared.resolution.transaction_ended(for_sure=False)
    if not _changes_names(effects):
        return
    names.epoch += 1
    if effects.discards_all:
        names.deallocate("*")
        names.close_portal("*")
    if effects.deallocates is not None:
        names.deallocate(effects.deallocates)
    if effects.closes is not None:
        names.close_portal(effects.closes)
    if effects.prepares is not None:
        name, inner = effects.prepares
        # The verdict on the PREPARE is bound to this session, so a Bind judges the inner text.
        names.prepare(name, Prepared(inner.text, inner, run.judged, facts, confirmed=True))
    if effects.declares is not None:
        cursor = Portal((facts,), run.judged, with_hold=effects.with_hold, confirmed=True)
        names.open_portal(effects.declares, cursor)
    if effects.transaction == "savepoint":
        names.savepoint(effects.savepoint)
    elif effects.transaction == "release":
        names.release(effects.savepoint)
    elif effects.transaction == "rollback_to":
        names.rollback_to(effects.savepoint)
        shared.resolution.rolled_back_to_savepoint()


def _changes_names(effects: Effects) -> bool:
    return (
        makes_names(effects)
        or effects.deallocates is not None
        or effects.closes is not None
        or effects.discards_all
        or effects.transaction in ("savepoint", "release", "rollback_to")
    )


def makes_names(effects: Effects) -> bool:
    """Whether the statement makes a prepared statement or a cursor."""
    return effects.prepares is not None or effects.declares is not None
