"""Who may vote on a held request, and what the votes come to. Pure."""

from typing import Protocol

from taskgate.model import limits
from taskgate.model.approval import Approval, ApprovalState, StandingApproval, StandingOffer, Vote
from taskgate.model.decision import ApprovalDemand
from taskgate.model.errors import BadConfig, Denied
from taskgate.model.identity import Identity, IdentityKind, same_person
from taskgate.model.ids import new_id
from taskgate.policy.people import may_vote, votes_meet
from taskgate.policy.rules import StandingLimit


class Asked(Protocol):
    """Something that people are asked to agree to."""

    @property
    def requester_keys(self) -> frozenset[str]: ...

    @property
    def rule(self) -> str: ...

    @property
    def demands(self) -> tuple[ApprovalDemand, ...]: ...


def ensure_may_vote(approval: Asked, identity: Identity) -> None:
    """That this caller, with the groups it has now, is one of those who were asked.

    Raises: Denied. People vote themselves: neither an agent nor a workload does for them; and
    nobody on what they, or an agent of theirs, requested.
    """
    requesters = {same_person(key) for key in approval.requester_keys}
    if not requesters.isdisjoint(same_person(key) for key in identity.keys):
        raise Denied(
            "nobody approves what they requested themselves",
            rule=approval.rule,
            hint="somebody else must decide it",
        )
    if identity.kind is not IdentityKind.HUMAN or identity.acts_for is not None:
        raise Denied(
            f"{identity.key} is no person, and only people approve",
            rule=approval.rule,
            hint="sign in as yourself",
        )
    if not may_vote(approval.demands, identity.key, identity.groups):
        raise Denied(
            f"{identity.key} is not among those who may approve this",
            rule=approval.rule,
            hint="the approval says which groups and people are asked",
        )


def stated(reason: str, *, approve: bool) -> str:
    """The reason, tidied. Raises: BadConfig where it is missing for a refusal, or too long."""
    tidy = " ".join(reason.split())
    if not tidy and not approve:
        raise BadConfig("a refusal needs a reason", hint='say why: --reason "..."')
    if len(tidy) > limits.MAX_REASON_CHARS or not tidy.isprintable():
        raise BadConfig(
            f"a reason has {limits.MAX_REASON_CHARS} characters at most, no control codes"
        )
    return tidy


def settle(
    approval: Approval, vote: Vote, standing: StandingLimit | None
) -> tuple[ApprovalState, StandingApproval | None]:
    """What becomes of `approval`, whose last vote is `vote`. One refusal ends it.

    `standing` is the most that the task lets anyone agree to in advance.
    Raises: BadConfig where the vote offers more than that.
    """
    if vote.more is not None:
        _ensure_within(vote.more, standing)
    if not vote.approve:
        return ApprovalState.DENIED, None
    if not votes_meet(approval.demands, approval.votes, approval.requester_keys):
        return ApprovalState.WAITING, None
    return ApprovalState.APPROVED, _agreed(approval, vote.at)


def _agreed(approval: Approval, at: float) -> StandingApproval | None:
    """What everybody who approved offered beyond this request: the least of it."""
    offers = [vote.more for vote in approval.votes if vote.approve]
    offered = [offer for offer in offers if offer is not None]
    if not offered or len(offered) != len(offers):
        return None
    return StandingApproval(
        id=new_id("sa"),
        approval_id=approval.id,
        grant_id=approval.grant_id,
        shape=approval.shape,
        rule=approval.rule,
        policy_version=approval.policy_version,
        expires_at=at + min(offer.lasts_s for offer in offered),
        uses_left=min(offer.uses for offer in offered),
        resource=approval.resource,
    )


def _ensure_within(offer: StandingOffer, standing: StandingLimit | None) -> None:
    if standing is None:
        raise BadConfig(
            "this task lets nobody approve in advance",
            hint="approve the one request; approvals.standing in the task's file allows more",
        )
    if not (1 <= offer.uses <= standing.uses and 0 < offer.lasts_s <= standing.lasts_s):
        raise BadConfig(
            f"this task lets one approve {standing.uses} uses within {standing.lasts_s:g} s in"
            f" advance at most, not {offer.uses} within {offer.lasts_s:g} s"
        )
