"""Grants on a real store, under a policy that tests can change."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from taskgate.identity.grants import Grants
from taskgate.model.errors import StoreUnavailable
from taskgate.policy.load import load_files
from taskgate.policy.rules import Policy
from taskgate.store.open import Store
from tests.identity.clocks import SteppedClock
from tests.patience import PATIENCE_S
from tests.store.places import Place
from tests.store.samples import NOW

# NOW is Friday, 15 January 2027, 08:00 UTC.
POLICY = """
kind: Resource
name: warehouse
protocol: postgres
address: db:5432
credential: {username: gate}
---
kind: Resource
name: archive
protocol: postgres
address: db2:5432
credential: {username: gate}
---
kind: Task
name: sales-report
resources: [warehouse, archive]
for: {groups: [analysts], people: [carl]}
lasts: {default: 1h, at_most: 4h}
permit:
  - select: [sales.orders]
hold:
  - update: [sales.orders]
    for: {groups: [data-leads], people: 1, within: 15m}
---
kind: Task
name: night-job
resource: warehouse
for: {groups: [analysts]}
hours: "Mon-Fri 07:00-08:30 UTC"
permit:
  - select: [sales.orders]
approvals: {standing: false}
"""


class Policies:
    """A `PolicySource` whose policy is text."""

    def __init__(self, text: str = POLICY) -> None:
        self.current: Policy = load_files({"policy.yaml": text})

    def change(self, old: str, new: str) -> None:
        text = self.current.files["policy.yaml"]
        assert old in text
        self.current = load_files({"policy.yaml": text.replace(old, new)})


@dataclass(frozen=True, slots=True)
class Node:
    """One gateway's side of a store."""

    store: Store
    grants: Grants
    clock: SteppedClock
    policies: Policies

    async def catch_up(self) -> None:
        """Hears of all that has ended, also where a busy store answers too late at first."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await self.grants.poll()
            except StoreUnavailable:
                assert time.monotonic() < end, "the store does not answer"


@asynccontextmanager
async def node(
    place: Place, clock: SteppedClock | None = None, policies: Policies | None = None
) -> AsyncIterator[Node]:
    """A node that follows revocations. Nodes may share a clock and a policy."""
    clock = clock or SteppedClock(NOW)
    policies = policies or Policies()
    async with place.open() as store:
        grants = Grants(store.grants, policies, clock)
        async with grants.watching():
            yield Node(store, grants, clock, policies)
