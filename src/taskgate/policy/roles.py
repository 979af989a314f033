"""Who holds which right over the gate itself."""

from taskgate.model.identity import Identity
from taskgate.policy.people import why_not_member
from taskgate.policy.rules import Policy, Right


def holds(policy: Policy, identity: Identity, right: Right | str) -> bool:
    """Whether any role gives `identity` the right. Nobody has one by default.

    Raises: ValueError for a right that does not exist.
    """
    wanted = Right(right)
    return any(
        wanted in role.rights and not why_not_member(role.members, identity)
        for role in policy.roles.values()
    )
