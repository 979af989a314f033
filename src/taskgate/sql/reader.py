"""Reads statements: the state of one reading, and the ways from one part of the tree to another.

The parts live in modules of their own; each takes the reader and goes on through it.
"""

from collections.abc import Iterable
from typing import Any

from taskgate.model.errors import Unreadable
from taskgate.sql import expressions, queries, statements, writes
from taskgate.sql.accesses import Findings
from taskgate.sql.names import Names
from taskgate.sql.nodes import Node, opened
from taskgate.sql.outcome import Outcome, Session
from taskgate.sql.scope import Rows, Scope
from taskgate.sql.values import Value

# Levels of brackets, subqueries and calls; the interpreter's own stack takes more.
MAX_NESTING = 150


class Reader:
    """One statement (or view definition) being read.

    `views` are the views being read, outermost first. `verb` is what incomplete actions are
    named after.
    """

    __slots__ = ("_level", "findings", "names", "verb", "views")

    def __init__(self, names: Names, verb: str, views: tuple[str, ...] = ()) -> None:
        self.names = names
        self.findings = Findings()
        self.verb = verb
        self.views = views
        self._level = 0

    def value(self, node: Node, scope: Scope) -> Value:
        """The lineage of an expression, its reads noted."""
        self._level += 1
        if self._level > MAX_NESTING:
            raise too_deep()
        found = expressions.read(self, node, scope)
        self._level -= 1
        return found

    def values(self, nodes: Iterable[Node], scope: Scope) -> list[Value]:
        """The lineages of several expressions."""
        return [self.value(node, scope) for node in nodes]

    def steer(self, node: Node, scope: Scope) -> None:
        """Reads an expression that decides which rows come, or in which order."""
        if node.WhichOneof("node") is not None:
            self.findings.compare(self.value(node, scope))

    def query(self, node: Node, parent: Scope | None) -> Rows:
        """The rows of a SELECT, VALUES or data-modifying statement."""
        which, inner = opened(node)
        if which == "select_stmt":
            return self.select(inner, parent)
        self._level += 1
        if self._level > MAX_NESTING:
            raise too_deep()
        found = writes.read(self, which, inner, parent)
        self._level -= 1
        if found is None:
            self.unclear(f"{which or 'nothing'} where a query should stand")
            return Rows((), None)
        return found

    def select(self, select: Any, parent: Scope | None) -> Rows:
        """The rows of a SELECT or VALUES."""
        self._level += 1
        if self._level > MAX_NESTING:
            raise too_deep()
        found = queries.read_select(self, select, parent)
        self._level -= 1
        return found

    def targets(self, nodes: Iterable[Node], scope: Scope) -> Rows:
        """The columns of a list of outputs."""
        return queries.read_targets(self, nodes, scope)

    def statement(self, node: Node, session: Session) -> Outcome:
        """A statement of any kind."""
        return statements.read_statement(self, node, session)

    def beneath(self, view: str) -> "Reader":
        """The reader of a view's definition."""
        return Reader(self.names, "select", (*self.views, view))

    def compare_all(self, rows: Rows) -> None:
        """Every column decides something (DISTINCT, UNION), or is stored where no mask reaches."""
        for one in rows.fields:
            self.findings.compare(one.value)
        if rows.rest is not None:
            self.findings.compare(rows.rest)

    def unclear(self, why: str) -> None:
        """Notes what could not be understood; the statement is then never permitted."""
        self.findings.refuse(self.verb, why)


def too_deep() -> Unreadable:
    return Unreadable(
        "the statement is nested too deep to be read",
        hint="use fewer levels of brackets, subqueries or calls",
    )
