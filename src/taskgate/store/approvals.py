"""Held requests, the votes on them, and standing approvals."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.model import limits
from taskgate.model.approval import (
    Approval,
    ApprovalState,
    StandingApproval,
    StandingOffer,
    Vote,
)
from taskgate.model.decision import ApprovalDemand
from taskgate.model.errors import Conflict, NotFound
from taskgate.store.counters import lock_counter
from taskgate.store.database import Database
from taskgate.store.encoding import decode_any, encode, plain
from taskgate.store.grants import grant_is_live
from taskgate.store.revoking import was_cut_off
from taskgate.store.schema import approvals, standing_approvals, votes

_WAITING = approvals.c.state == ApprovalState.WAITING.value


class SqlApprovals:
    """`model.ports.ApprovalStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, approval: Approval, node: str) -> bool:
        async with self._database.write() as connection:
            live = await connection.scalar(
                sa.select(grant_is_live(approval.grant_id, approval.asked_at))
            )
            if not live:
                return False
            await connection.execute(
                sa.insert(approvals).values(
                    id=approval.id,
                    grant_id=approval.grant_id,
                    session_id=approval.session_id,
                    node=node,
                    requester_key=approval.requester_key,
                    requester_keys=encode(approval.requester_keys),
                    task=approval.task,
                    resource=approval.resource,
                    # What people read must be exactly what runs: escaped, never replaced.
                    text=encode(approval.text),
                    parameters=encode(approval.parameters),
                    digest=approval.digest,
                    shape=approval.shape,
                    rule=approval.rule,
                    policy_version=approval.policy_version,
                    demands=encode(approval.demands),
                    asked_at=approval.asked_at,
                    expires_at=approval.expires_at,
                    state=approval.state.value,
                    closed_at=approval.closed_at,
                    closed_why=plain(approval.closed_why),
                )
            )
            return True

    async def get(self, approval_id: str) -> Approval | None:
        async with self._database.read() as connection:
            return await _get(connection, approval_id)

    async def find(
        self, state: ApprovalState | None, limit: int, *, asked_after: float = 0.0
    ) -> tuple[Approval, ...]:
        conditions = [approvals.c.asked_at > asked_after]
        if state is not None:
            conditions.append(approvals.c.state == state.value)
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(approvals)
                .where(*conditions)
                .order_by(approvals.c.asked_at.desc(), approvals.c.id)
                .limit(limit)
            )
            rows = found.all()
            by_id = await _votes(connection, [row.id for row in rows])
            return tuple(_approval(row, by_id[row.id]) for row in rows)

    async def waiting(self, limit: int) -> tuple[str, ...]:
        async with self._database.follow() as connection:
            found = await connection.scalars(
                sa.select(approvals.c.id)
                .where(_WAITING)
                .order_by(approvals.c.asked_at, approvals.c.id)
                .limit(limit)
            )
            return tuple(found.all())

    async def vote(
        self,
        approval_id: str,
        vote: Vote,
        settle: Callable[[Approval], tuple[ApprovalState, StandingApproval | None]],
        authenticated_at: float | None = None,
    ) -> Approval:
        async with self._database.write() as connection:
            if authenticated_at is not None:
                # Who is being cut off, or has left, has no say any more.
                await lock_counter(connection, "revocations")
                if await was_cut_off(connection, (vote.subject_key,), authenticated_at):
                    raise Conflict(f"the sign-in of {vote.subject_key} has ended")
            # Votes on one approval queue up here; each sees all that came before it.
            before = await _get(connection, approval_id, lock=True)
            if before is None:
                raise NotFound(
                    f"there is no approval {approval_id}", hint="taskgate approvals lists them"
                )
            if before.state is not ApprovalState.WAITING:
                raise Conflict(f"approval {approval_id} is already {before.state}")
            if not before.asked_at <= vote.at < before.expires_at:
                raise Conflict(f"approval {approval_id} has expired")
            if any(cast.subject_key == vote.subject_key for cast in before.votes):
                raise Conflict(f"{vote.subject_key} has already voted on approval {approval_id}")
            if not await connection.scalar(sa.select(grant_is_live(before.grant_id, vote.at))):
                raise Conflict(f"the grant of approval {approval_id} has ended")
            await connection.execute(
                sa.insert(votes).values(
                    approval_id=approval_id,
                    person=vote.subject_key,
                    approve=vote.approve,
                    reason=plain(vote.reason),
                    at=vote.at,
                    groups=encode(vote.groups),
                    more=encode(vote.more),
                )
            )
            after = await _get(connection, approval_id)
            if after is None:
                raise NotFound(f"there is no approval {approval_id}")
            state, standing = settle(after)
            if state is ApprovalState.WAITING:
                return after
            why = vote.reason if state is ApprovalState.DENIED else ""
            await _close(connection, [approvals.c.id == approval_id], state, vote.at, why)
            if standing is not None:
                await connection.execute(
                    sa.insert(standing_approvals).values(
                        id=standing.id,
                        approval_id=approval_id,
                        grant_id=before.grant_id,
                        resource=before.resource,
                        shape=before.shape,
                        rule=before.rule,
                        policy_version=before.policy_version,
                        expires_at=standing.expires_at,
                        uses_left=standing.uses_left,
                    )
                )
            closed = await _get(connection, approval_id)
            if closed is None:
                raise NotFound(f"there is no approval {approval_id}")
            return closed

    async def close(self, approval_id: str, state: ApprovalState, at: float, why: str) -> bool:
        async with self._database.write() as connection:
            closed = await _close(connection, [approvals.c.id == approval_id], state, at, why)
            return bool(closed)

    async def close_grant(self, grant_id: str, at: float, why: str) -> tuple[str, ...]:
        async with self._database.write() as connection:
            of_grant = approvals.c.grant_id == grant_id
            return await _close(connection, [of_grant], ApprovalState.CANCELLED, at, why)

    async def close_node(self, node: str, at: float, why: str) -> tuple[str, ...]:
        async with self._database.write() as connection:
            of_node = approvals.c.node == node
            return await _close(connection, [of_node], ApprovalState.CANCELLED, at, why)

    async def expire(self, now: float) -> tuple[str, ...]:
        async with self._database.write() as connection:
            over = approvals.c.expires_at <= now
            return await _close(connection, [over], ApprovalState.EXPIRED, now, "")

    async def take(
        self, approval_id: str, session_id: str, digest: str, policy_version: str, now: float
    ) -> bool:
        async with self._database.write() as connection:
            taken = await connection.execute(
                sa.update(approvals)
                .where(
                    approvals.c.id == approval_id,
                    approvals.c.session_id == session_id,
                    approvals.c.digest == digest,
                    approvals.c.policy_version == policy_version,
                    approvals.c.state == ApprovalState.APPROVED.value,
                    approvals.c.closed_at > now - limits.APPROVAL_USE_S,
                    approvals.c.taken_at.is_(None),
                    grant_is_live(approvals.c.grant_id, now),
                )
                .values(taken_at=now)
            )
            return taken.rowcount == 1

    async def use_standing(
        self, grant_id: str, resource: str, shape: str, rule: str, policy_version: str, now: float
    ) -> StandingApproval | None:
        usable = (standing_approvals.c.uses_left > 0, standing_approvals.c.expires_at > now)
        fits = (
            standing_approvals.c.grant_id == grant_id,
            standing_approvals.c.resource == resource,
            standing_approvals.c.shape == shape,
            standing_approvals.c.rule == rule,
            standing_approvals.c.policy_version == policy_version,
            grant_is_live(grant_id, now),
        )
        # Read first: most held requests have none, and that must not cost a write.
        async with self._database.read() as connection:
            found = await connection.scalars(
                sa.select(standing_approvals.c.id)
                .where(*fits, *usable)
                .order_by(standing_approvals.c.expires_at)
            )
            candidates = found.all()
        for candidate in candidates:
            async with self._database.write() as connection:
                used = await connection.execute(
                    sa.update(standing_approvals)
                    .where(standing_approvals.c.id == candidate, *fits, *usable)
                    .values(uses_left=standing_approvals.c.uses_left - 1)
                    .returning(standing_approvals)
                )
                row = used.one_or_none()
            if row is not None:
                return _standing(row)
        return None

    async def find_standing(self, now: float, limit: int) -> tuple[StandingApproval, ...]:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(standing_approvals)
                .where(
                    standing_approvals.c.expires_at > now,
                    standing_approvals.c.uses_left > 0,
                    grant_is_live(standing_approvals.c.grant_id, now),
                )
                .order_by(standing_approvals.c.expires_at)
                .limit(limit)
            )
            return tuple(_standing(row) for row in found)

    async def end_standing(self, standing_id: str, at: float) -> bool:
        async with self._database.write() as connection:
            ended = await connection.execute(
                sa.update(standing_approvals)
                .where(
                    standing_approvals.c.id == standing_id,
                    standing_approvals.c.uses_left > 0,
                    standing_approvals.c.expires_at > at,
                )
                .values(uses_left=0)
            )
            return ended.rowcount == 1


async def _close(
    connection: AsyncConnection,
    conditions: Sequence[sa.ColumnElement[bool]],
    state: ApprovalState,
    at: float,
    why: str,
) -> tuple[str, ...]:
    """From WAITING, and only from there: of two who close, one does."""
    closed = await connection.scalars(
        sa.update(approvals)
        .where(*conditions, _WAITING)
        .values(state=state.value, closed_at=at, closed_why=plain(why))
        .returning(approvals.c.id)
    )
    return tuple(closed.all())


async def _get(
    connection: AsyncConnection, approval_id: str, *, lock: bool = False
) -> Approval | None:
    query = sa.select(approvals).where(approvals.c.id == approval_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        return None
    return _approval(row, (await _votes(connection, [approval_id]))[approval_id])


async def _votes(
    connection: AsyncConnection, approval_ids: Sequence[str]
) -> defaultdict[str, list[Vote]]:
    by_id: defaultdict[str, list[Vote]] = defaultdict(list)
    if not approval_ids:
        return by_id
    found = await connection.execute(
        sa.select(votes)
        .where(votes.c.approval_id.in_(approval_ids))
        .order_by(votes.c.at, votes.c.person)
    )
    for row in found:
        by_id[row.approval_id].append(
            Vote(
                subject_key=row.person,
                approve=row.approve,
                reason=row.reason,
                at=row.at,
                groups=decode_any(row.groups, frozenset[str]),
                more=decode_any(row.more, StandingOffer | None),
            )
        )
    return by_id


def _approval(row: sa.Row[Any], cast: Sequence[Vote]) -> Approval:
    return Approval(
        id=row.id,
        grant_id=row.grant_id,
        session_id=row.session_id,
        requester_key=row.requester_key,
        task=row.task,
        resource=row.resource,
        text=decode_any(row.text, str),
        parameters=decode_any(row.parameters, tuple[str | None, ...]),
        digest=row.digest,
        shape=row.shape,
        rule=row.rule,
        policy_version=row.policy_version,
        demands=decode_any(row.demands, tuple[ApprovalDemand, ...]),
        asked_at=row.asked_at,
        expires_at=row.expires_at,
        state=ApprovalState(row.state),
        votes=tuple(cast),
        closed_at=row.closed_at,
        requester_keys=decode_any(row.requester_keys, frozenset[str]),
        closed_why=row.closed_why,
    )


def _standing(row: sa.Row[Any]) -> StandingApproval:
    return StandingApproval(
        id=row.id,
        approval_id=row.approval_id,
        grant_id=row.grant_id,
        shape=row.shape,
        rule=row.rule,
        policy_version=row.policy_version,
        expires_at=row.expires_at,
        uses_left=row.uses_left,
        resource=row.resource,
    )
