"""What a completed statement did to the session's names."""

from taskgate.protocols.postgres.conversation import Conversation
from taskgate.protocols.postgres.pipeline import Run
from taskgate.protocols.postgres.session_names import Portal, Prepared
from taskgate.sql.facts import StatementFacts


def apply_effects(shared: Conversation, facts: StatementFacts, run: Run) -> None:
    """Takes in one statement's effects, once the resource says that it is complete."""
    effects = facts.effects
    names = shared.names
    if effects.prepares is not None:
        name, inner = effects.prepares
        # The verdict on the PREPARE is bound to this session, so a Bind judges the inner text.
        names.prepare(name, Prepared(inner.text, inner, run.judged))
    if effects.deallocates is not None:
        names.deallocate(effects.deallocates)
    if effects.declares is not None:
        cursor = Portal((facts,), run.judged, with_hold=effects.with_hold)
        cursor.cycle = shared.pipeline.cycles_done
        names.open_portal(effects.declares, cursor)
    if effects.closes is not None:
        names.close_portal(effects.closes)
    if effects.discards_all:
        names.deallocate("*")
        names.close_portal("*")
    if effects.transaction == "savepoint":
        names.savepoint(effects.savepoint)
    elif effects.transaction == "release":
        names.release(effects.savepoint)
    elif effects.transaction == "rollback_to":
        names.rollback_to(effects.savepoint)
        shared.resolution.rolled_back_to_savepoint()
