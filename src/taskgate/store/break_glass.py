"""Uses of break-glass, their reviews, and alerts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from taskgate.model.approval import Vote
from taskgate.model.break_glass import Alert, BreakGlass, BreakGlassState
from taskgate.model.decision import ApprovalDemand
from taskgate.model.errors import Conflict, NotFound
from taskgate.model.identity import Identity
from taskgate.store.counters import lock_counter
from taskgate.store.database import Database
from taskgate.store.encoding import decode, decode_any, encode, plain
from taskgate.store.revoking import was_cut_off
from taskgate.store.schema import alerts, break_glasses

_OPEN = (BreakGlassState.WAITING.value, BreakGlassState.READY.value)


class SqlBreakGlass:
    """`model.break_glass_ports.BreakGlassStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, one: BreakGlass, most: int) -> bool:
        async with self._database.write() as connection:
            await lock_counter(connection, "revocations")
            if await was_cut_off(connection, one.identity.keys, one.identity.authenticated_at):
                return False
            waiting = await connection.scalar(
                sa.select(sa.func.count())
                .select_from(break_glasses)
                .where(
                    break_glasses.c.person == one.identity.key,
                    break_glasses.c.state.in_(_OPEN),
                    break_glasses.c.expires_at > one.asked_at,
                )
            )
            if waiting is not None and waiting >= most:
                raise Conflict(
                    f"{waiting} of your break-glass requests are open already",
                    hint="taskgate reviews --mine lists them",
                )
            await connection.execute(
                sa.insert(break_glasses).values(
                    id=one.id,
                    person=one.identity.key,
                    identity=encode(one.identity),
                    task=one.task,
                    reason=plain(one.reason),
                    resources=encode(one.resources),
                    lasts_s=one.lasts_s,
                    asked_at=one.asked_at,
                    expires_at=one.expires_at,
                    second=encode(one.second) if one.second is not None else None,
                    review=encode(one.review),
                    state=one.state.value,
                    votes=encode(one.votes),
                    grant_id=one.grant_id,
                    used_at=one.used_at,
                    review_due_at=one.review_due_at,
                    reviewed_at=one.reviewed_at,
                    reviewed_by=one.reviewed_by,
                    note=plain(one.note),
                )
            )
            return True

    async def get(self, break_glass_id: str) -> BreakGlass | None:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(break_glasses).where(break_glasses.c.id == break_glass_id)
            )
            row = found.one_or_none()
            return _break_glass(row) if row is not None else None

    async def find(self, *, settled: bool, limit: int) -> tuple[BreakGlass, ...]:
        c = break_glasses.c
        unreviewed = sa.and_(c.state == BreakGlassState.USED.value, c.reviewed_at.is_(None))
        unsettled = sa.or_(c.state.in_(_OPEN), unreviewed)
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(break_glasses)
                .where(*([] if settled else [unsettled]))
                .order_by(c.asked_at.desc(), c.id)
                .limit(limit)
            )
            return tuple(_break_glass(row) for row in found)

    async def vote(
        self,
        break_glass_id: str,
        vote: Vote,
        settle: Callable[[BreakGlass], BreakGlassState],
        authenticated_at: float,
    ) -> BreakGlass:
        async with self._database.write() as connection:
            await lock_counter(connection, "revocations")
            found = await connection.execute(
                sa.select(break_glasses)
                .where(break_glasses.c.id == break_glass_id)
                .with_for_update()
            )
            row = found.one_or_none()
            if row is None:
                raise NotFound(f"there is no break-glass request {break_glass_id}")
            one = _break_glass(row)
            if one.state is not BreakGlassState.WAITING or vote.at >= one.expires_at:
                raise Conflict(f"{one.id} does not wait for anybody any more")
            if any(kept.subject_key == vote.subject_key for kept in one.votes):
                raise Conflict("you have voted on it already")
            if await was_cut_off(connection, (vote.subject_key,), authenticated_at):
                raise Conflict("your sign-in has ended", hint="sign in again: taskgate login")
            if await was_cut_off(connection, one.identity.keys, one.identity.authenticated_at):
                raise Conflict("whoever asked it was cut off meanwhile")
            voted = replace(one, votes=(*one.votes, vote))
            after = replace(voted, state=settle(voted))
            await connection.execute(
                sa.update(break_glasses)
                .where(break_glasses.c.id == one.id)
                .values(state=after.state.value, votes=encode(after.votes))
            )
            return after

    async def take(self, break_glass_id: str, grant_id: str, at: float, due_at: float) -> bool:
        async with self._database.write() as connection:
            taken = await connection.execute(
                sa.update(break_glasses)
                .where(
                    break_glasses.c.id == break_glass_id,
                    break_glasses.c.state == BreakGlassState.READY.value,
                    break_glasses.c.expires_at > at,
                )
                .values(
                    state=BreakGlassState.USED.value,
                    grant_id=grant_id,
                    used_at=at,
                    review_due_at=due_at,
                )
            )
            return taken.rowcount == 1

    async def close_review(self, break_glass_id: str, by: str, note: str, at: float) -> bool:
        async with self._database.write() as connection:
            closed = await connection.execute(
                sa.update(break_glasses)
                .where(
                    break_glasses.c.id == break_glass_id,
                    break_glasses.c.state == BreakGlassState.USED.value,
                    break_glasses.c.reviewed_at.is_(None),
                )
                .values(reviewed_at=at, reviewed_by=by, note=plain(note))
            )
            return closed.rowcount == 1

    async def expire(self, now: float) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                sa.update(break_glasses)
                .where(break_glasses.c.state.in_(_OPEN), break_glasses.c.expires_at <= now)
                .values(state=BreakGlassState.EXPIRED.value)
            )


class SqlAlerts:
    """`model.break_glass_ports.AlertStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, alert: Alert) -> bool:
        async with self._database.write() as connection:
            added = await connection.scalar(
                self._database.insert(alerts)
                .values(
                    id=alert.id,
                    at=alert.at,
                    kind=alert.kind,
                    person=alert.person,
                    task=alert.task,
                    subject=alert.subject,
                    text=plain(alert.text),
                )
                .on_conflict_do_nothing()
                .returning(alerts.c.id)
            )
            return added is not None

    async def since(self, at: float, limit: int) -> tuple[Alert, ...]:
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(alerts)
                .where(alerts.c.at >= at)
                .order_by(alerts.c.at.desc(), alerts.c.id)
                .limit(limit)
            )
            return tuple(
                Alert(row.id, row.at, row.kind, row.person, row.task, row.subject, row.text)
                for row in found
            )


def _break_glass(row: sa.Row[Any]) -> BreakGlass:
    return BreakGlass(
        id=row.id,
        identity=decode(row.identity, Identity),
        task=row.task,
        reason=row.reason,
        resources=decode_any(row.resources, tuple[str, ...]),
        lasts_s=row.lasts_s,
        asked_at=row.asked_at,
        expires_at=row.expires_at,
        second=decode(row.second, ApprovalDemand) if row.second is not None else None,
        review=decode(row.review, ApprovalDemand),
        state=BreakGlassState(row.state),
        votes=decode_any(row.votes, tuple[Vote, ...]),
        grant_id=row.grant_id,
        used_at=row.used_at,
        review_due_at=row.review_due_at,
        reviewed_at=row.reviewed_at,
        reviewed_by=row.reviewed_by,
        note=row.note,
    )
