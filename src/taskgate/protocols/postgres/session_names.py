"""The names a session has made: prepared statements, portals and cursors, savepoints.

SQL's PREPARE and the protocol's Parse fill one namespace, DECLARE and Bind another (PostgreSQL
docs, "Extended Query"). What the resource holds under a name and what the gate judged under it
must be the same at all times; where that cannot be told the name is forgotten, and its use
refused. What was sent to be made is not `confirmed` before the resource says so: until then it can
be counted on in its own cycle of the pipeline only, where an error would void what follows too.
"""

from collections.abc import Callable
from dataclasses import dataclass

from taskgate.model.errors import OverLimit
from taskgate.model.limits import MAX_PORTALS, MAX_PREPARED_STATEMENTS
from taskgate.protocols.postgres.judging import Judged
from taskgate.protocols.postgres.messages import Field
from taskgate.sql.facts import StatementFacts
from taskgate.sql.script import Script

# The level of a holdable cursor whose transaction has committed: no rollback reaches it.
COMMITTED = -1


@dataclass(slots=True)
class Described:
    """What the resource says of a statement's result columns; None as long as it has not. Whoever
    asks anew makes a new one: portals keep that of their own Bind."""

    fields: tuple[Field, ...] | None = None


@dataclass(slots=True)
class Prepared:
    """A statement the resource holds ready.

    `judged` is the latest verdict on it. `meant` is what it was found to do when the resource read
    it, and `identity` which objects its names then were: the resource may go on with those.
    `types` are its parameters' declared types, None if SQL's PREPARE made it. `epoch` is that of
    the names when it was sent. `described` is None until the gate has asked for its columns.
    """

    text: str
    script: Script
    judged: Judged
    meant: StatementFacts | None = None
    identity: str = ""
    types: tuple[int, ...] | None = None
    described: Described | None = None
    epoch: int = 0
    cycle: int = 0
    confirmed: bool = False


@dataclass(slots=True)
class Portal:
    """A bound statement, or a cursor (then `prepared` is None and `facts` say what it reads).

    `level` counts the savepoints that were open when it was made, `cycle` the cycles of the
    pipeline sent before it; `epoch` is that of the names when it was bound. `admitted` is the
    request number of its first Execute: fetching on is the same request.
    """

    facts: tuple[StatementFacts, ...]
    judged: Judged
    prepared: Prepared | None = None
    described: Described | None = None
    formats: tuple[int, ...] = ()
    parameters: tuple[str | None, ...] = ()
    parameter_digest: bytes = b""
    level: int = 0
    cycle: int = 0
    with_hold: bool = False
    admitted: int = 0
    epoch: int = 0
    confirmed: bool = False


class SessionState:
    """Names to what stands behind them. Every change returns how to take it back.

    `tainted`: in this transaction a statement ran whose errors might quote a masked value, if only
    at commit (deferred constraints). `epoch` counts the times that SQL changed what names stand
    for.
    """

    __slots__ = ("epoch", "portals", "prepared", "savepoints", "tainted")

    def __init__(self) -> None:
        self.prepared: dict[str, Prepared] = {}
        self.portals: dict[str, Portal] = {}
        self.savepoints: list[str] = []
        self.tainted = False
        self.epoch = 0

    def drained(self) -> None:
        """Every answer has come: what the resource has not confirmed is not there."""
        self.prepared = {n: p for n, p in self.prepared.items() if p.confirmed}
        self.portals = {n: p for n, p in self.portals.items() if p.confirmed}

    def prepare(self, name: str, prepared: Prepared) -> Callable[[], None]:
        """Notes a statement that is being prepared, in place of any of that name.

        Raises:
            OverLimit: too many prepared statements.
        """
        if name not in self.prepared and len(self.prepared) >= MAX_PREPARED_STATEMENTS:
            raise OverLimit(
                f"this session holds {MAX_PREPARED_STATEMENTS} prepared statements",
                hint="close (DEALLOCATE) those no longer needed",
            )
        self.prepared[name] = prepared

        def undo() -> None:
            if self.prepared.get(name) is prepared:
                del self.prepared[name]

        return undo

    def deallocate(self, name: str) -> Callable[[], None]:
        """Forgets one prepared statement, or all for `*`."""
        if name == "*":
            everything, self.prepared = self.prepared, {}
            return lambda: self.prepared.update(everything)
        gone = self.prepared.pop(name, None)

        def undo() -> None:
            if gone is not None:
                self.prepared.setdefault(name, gone)

        return undo

    def open_portal(self, name: str, portal: Portal) -> Callable[[], None]:
        """Notes a portal or cursor being made, in place of any of that name.

        Raises:
            OverLimit: too many portals.
        """
        if name not in self.portals and len(self.portals) >= MAX_PORTALS:
            raise OverLimit(f"this transaction has {MAX_PORTALS} portals open", hint="close some")
        portal.level = len(self.savepoints)
        self.portals[name] = portal

        def undo() -> None:
            if self.portals.get(name) is portal:
                del self.portals[name]

        return undo

    def close_portal(self, name: str) -> Callable[[], None]:
        """Forgets one portal, or all for `*`."""
        if name == "*":
            everything, self.portals = self.portals, {}
            return lambda: self.portals.update(everything)
        gone = self.portals.pop(name, None)

        def undo() -> None:
            if gone is not None:
                self.portals.setdefault(name, gone)

        return undo

    def savepoint(self, name: str) -> None:
        self.savepoints.append(name)

    def rollback_to(self, name: str) -> None:
        """Cursors made since the savepoint are gone; one not known clears them all. What is not
        confirmed yet is made after the rollback."""
        level = self._level(name)
        self.portals = {
            n: p for n, p in self.portals.items() if p.level <= level or not p.confirmed
        }
        del self.savepoints[level + 1 :]

    def release(self, name: str) -> None:
        level = self._level(name)
        for portal in self.portals.values():
            portal.level = min(portal.level, level)
        del self.savepoints[level:]

    def transaction_ended(self, *, rolled_back: bool) -> None:
        """Portals live no longer than their transaction, but for committed holdable cursors. Those
        not confirmed yet are made after its end: answers come in order."""
        self.savepoints.clear()
        if not self.portals:
            return
        self.epoch += 1
        kept: dict[str, Portal] = {}
        for name, portal in self.portals.items():
            if not portal.confirmed:
                kept[name] = portal
            elif portal.with_hold and (portal.level == COMMITTED or not rolled_back):
                portal.level = COMMITTED
                kept[name] = portal
        self.portals = kept

    def _level(self, name: str) -> int:
        for level in range(len(self.savepoints) - 1, -1, -1):
            if self.savepoints[level] == name:
                return level
        return -1
