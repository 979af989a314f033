"""What comes of one statement, as it is being put together."""

from dataclasses import dataclass, field, replace
from typing import Any

from taskgate.sql.facts import NO_EFFECTS, Effects, Output, SessionNames, StatementFacts
from taskgate.sql.scope import Rows
from taskgate.sql.script import Script
from taskgate.sql.values import output_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """`outputs` as in StatementFacts. `beside` are facts of statements that run as part of this
    one (EXECUTE, FETCH)."""

    outputs: tuple[Output, ...] | None = ()
    returns_rows: bool = False
    effects: Effects = NO_EFFECTS
    beside: tuple[StatementFacts, ...] = ()

    def with_effects(self, **changes: Any) -> "Outcome":
        return replace(self, effects=replace(self.effects, **changes))


NOTHING = Outcome()


@dataclass(slots=True)
class Session:
    """The names that EXECUTE and FETCH may use: the session's, and those of the script so far.

    `text` is the statement being read. `new_facts` are what statements prepared in this script
    were found to do then.
    """

    names: SessionNames
    text: str = ""
    new_prepared: dict[str, Script | None] = field(default_factory=dict)
    new_facts: dict[str, StatementFacts] = field(default_factory=dict)
    new_cursors: dict[str, StatementFacts | None] = field(default_factory=dict)
    all_deallocated: bool = False
    all_closed: bool = False

    def prepared_as(self, name: str) -> Script | None:
        if name in self.new_prepared:
            return self.new_prepared[name]
        return None if self.all_deallocated else self.names.prepared.get(name)

    def facts_of(self, name: str) -> StatementFacts | None:
        """What a prepared statement was found to do when it was prepared, if that is known."""
        if name in self.new_prepared:
            return self.new_facts.get(name)
        return self.names.prepared_facts.get(name)

    def cursor(self, name: str) -> StatementFacts | None:
        if name in self.new_cursors:
            return self.new_cursors[name]
        return None if self.all_closed else self.names.cursors.get(name)

    def apply(self, facts: StatementFacts) -> None:
        """Takes in what a statement of this script leaves behind for the next."""
        effects = facts.effects
        if effects.deallocates == "*" or effects.discards_all:
            self.all_deallocated = True
            self.new_prepared.clear()
        elif effects.deallocates is not None:
            self.new_prepared[effects.deallocates] = None
        if effects.closes == "*" or effects.discards_all:
            self.all_closed = True
            self.new_cursors.clear()
        elif effects.closes is not None:
            self.new_cursors[effects.closes] = None
        if effects.prepares is not None:
            name, script = effects.prepares
            self.new_prepared[name] = script
            self.new_facts[name] = facts
        if effects.declares is not None:
            self.new_cursors[effects.declares] = facts


def rows_outcome(rows: Rows) -> Outcome:
    """A statement that answers with these rows."""
    return Outcome(outputs_of(rows), True)


def outputs_of(rows: Rows) -> tuple[Output, ...] | None:
    """The lineage of a result; None if its columns cannot be told apart."""
    if rows.rest is not None:
        return None
    return tuple(output_of(f.name, f.value) for f in rows.fields)
