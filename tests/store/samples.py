"""Model values to put into stores."""

from dataclasses import replace
from typing import Any

from taskgate.model.approval import Approval
from taskgate.model.decision import ApprovalDemand
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity
from taskgate.model.ids import new_id
from taskgate.model.token import Token
from taskgate.store.open import Store

NOW = 1_800_000_000.0
ANN = Identity("ann", groups=frozenset({"analysts"}), authenticated_at=NOW - 60)
DAN = Identity("dan", groups=frozenset({"data-leads"}), authenticated_at=NOW - 60)
EVE = Identity("eve", groups=frozenset({"data-leads"}), authenticated_at=NOW - 60)
DEMAND = ApprovalDemand(frozenset({"data-leads"}), frozenset(), 1, 900.0)


def grant(identity: Identity = ANN, **changes: Any) -> Grant:
    """An hour's grant from NOW on."""
    made = Grant(
        id=new_id("g"),
        identity=identity,
        task="sales-report",
        reason="the weekly report",
        resources=("warehouse",),
        not_before=NOW,
        expires_at=NOW + 3600,
    )
    return replace(made, **changes)


def token(of: Grant, **changes: Any) -> Token:
    made = Token(new_id("hash"), of.id, of.not_before, of.expires_at)
    return replace(made, **changes)


async def add_grant(store: Store, identity: Identity = ANN, **changes: Any) -> Grant:
    """A grant that is in the store, with one token."""
    made = grant(identity, **changes)
    assert await store.grants.add(made, token(made), 1_000)
    return made


def approval(of: Grant, **changes: Any) -> Approval:
    """A hold under `of`, asked at NOW, for 15 minutes, that one data lead may approve."""
    made = Approval(
        id=new_id("a"),
        grant_id=of.id,
        session_id="s-1",
        requester_key=of.identity.key,
        task=of.task,
        resource="warehouse",
        text="update sales.orders set paid = true where id = $1",
        parameters=("17", None),
        digest="d" * 64,
        shape="5" * 64,
        rule="sales-report/hold[0]",
        policy_version="v1",
        demands=(DEMAND,),
        asked_at=NOW,
        expires_at=NOW + 900,
        requester_keys=frozenset(of.identity.keys),
    )
    return replace(made, **changes)
