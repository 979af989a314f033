"""A gateway's holds on a real store, and things to hold."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from taskgate.gateway.holds import Holds
from taskgate.model.action import Request
from taskgate.model.decision import ApprovalDemand, Decision, Outcome
from taskgate.model.grant import Grant, SessionInfo
from taskgate.model.identity import Identity
from tests.identity.around import Node, Policies, node
from tests.identity.clocks import SteppedClock
from tests.store.places import Place
from tests.store.samples import ANN, NOW

UPDATE = Request(
    "update sales.orders set paid = true where id = $1", (), "d" * 64, "5" * 64, ("1",)
)
LEADS = ApprovalDemand(frozenset({"data-leads"}), frozenset(), 1, 900.0)


@dataclass(frozen=True, slots=True)
class Desk:
    """One node with its holds."""

    node: Node
    holds: Holds

    @property
    def clock(self) -> SteppedClock:
        return self.node.clock

    async def grant(self, identity: Identity = ANN) -> Grant:
        issued = await self.node.grants.request(identity, "sales-report", "why not")
        return issued.grant

    def session(self, grant: Grant, name: str = "s-1") -> SessionInfo:
        return SessionInfo(
            name, grant.id, grant.identity, grant.task, "warehouse", "postgres", "", "psql", NOW
        )

    def decision(self, **changes: Any) -> Decision:
        made = Decision(
            Outcome.HOLD,
            "sales-report/hold[0]",
            "policy.yaml:20",
            "",
            self.node.policies.current.version,
            (LEADS,),
        )
        return replace(made, **changes)


@asynccontextmanager
async def desk(
    place: Place,
    name: str = "node-1",
    clock: SteppedClock | None = None,
    policies: Policies | None = None,
) -> AsyncIterator[Desk]:
    """A node that watches its holds."""
    async with node(place, clock, policies) as made:
        holds = Holds(made.store.approvals, made.grants, made.policies, made.clock, name)
        async with holds.watching():
            yield Desk(made, holds)
