"""What passes by without a mask being laid on it."""

from dataclasses import replace

from taskgate.model.decision import Decision, Outcome


def refused_where_masked(decision: Decision, why: str, hint: str) -> Decision:
    """Refuses it where the task masks values, and lets nothing pass that it cannot look into. `why`
    and `hint` begin what the client is told."""
    masks = decision.masks
    if not masks.kinds or masks.pass_binary:
        return decision
    return replace(
        decision,
        outcome=Outcome.DENY,
        rule=masks.kinds[0].rule,
        reason=f"the task masks what it shows, and {why}",
        demands=(),
        hint=f"{hint} with binary: pass",
    )
