"""What a statement does, as facts: the vocabulary that the analysis answers in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from taskgate.model.action import Action
from taskgate.sql.entries import NeededName
from taskgate.sql.script import Script


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """One stored column. `relation` is spelled (`model.names`), `column` is the bare name.

    A column of a partition, a child table or a view is named together with those of its parents,
    children or base tables: the same value is known under each of these names.
    """

    relation: str
    column: str


@dataclass(frozen=True, slots=True)
class Output:
    """One column of a result.

    `sources` are the stored columns whose values may flow into it, None where that cannot be told.
    `plain` says that the value is that of one column, unchanged (`sources` then names this one
    column, under every name it has). `functions` are the user-defined functions (spelled) that are
    the only reason why `sources` is None; `at_least` then holds what is known besides them.
    """

    name: str
    sources: frozenset[ColumnRef] | None
    plain: bool
    functions: frozenset[str] = frozenset()
    at_least: frozenset[ColumnRef] = frozenset()


@dataclass(frozen=True, slots=True)
class CopySpec:
    """The stream of a COPY from or to the client.

    `direction` is `to` (rows go to the client) or `from`; `format` is `text`, `csv` or `binary`.
    `fields` are the lineage of each field, None where it cannot be told. `header` is `false`,
    `true` or `match`. `encoding` is empty for the session's own.
    """

    direction: str
    fields: tuple[Output, ...] | None
    format: str
    delimiter: str
    null: str
    quote: str
    escape: str
    header: str
    encoding: str


@dataclass(frozen=True, slots=True)
class Effects:
    """What a statement changes in the session, if it succeeds.

    `may_change_resolution`: names may mean something else afterwards. `transaction` is one of
    `begin`, `commit`, `rollback`, `savepoint`, `release`, `rollback_to`, `two_phase`, or None;
    `chain` says that a commit or rollback begins the next one. `deallocates` and `closes` hold a
    name, or `*` for all. A setting whose value is None goes back to its default, or to a value
    that cannot be told. `unlistens` holds channels, or `*`.
    """

    may_change_resolution: bool = False
    transaction: str | None = None
    savepoint: str = ""
    chain: bool = False
    prepares: tuple[str, Script] | None = None
    deallocates: str | None = None
    declares: str | None = None
    with_hold: bool = False
    closes: str | None = None
    discards_all: bool = False
    copy: CopySpec | None = None
    settings: tuple[tuple[str, str | None], ...] = ()
    listens: tuple[str, ...] = ()
    unlistens: tuple[str, ...] = ()


NO_EFFECTS = Effects()


@dataclass(frozen=True, slots=True)
class StatementFacts:
    """One statement.

    `outputs`: the columns of the rows it answers with; None where rows come back whose columns
    cannot be told; empty where none come back (`returns_rows` False).
    `opaque`: code that cannot be read here may run (a user-defined function, DO, CALL, a write
    that may fire triggers or rules): errors and notices may quote anything.
    `relations`: every relation reached, spelled, with views expanded.
    `compares_unknown`: a value whose origin cannot be told steers the result, so that a hidden
    value might be guessed through it; `compares_functions` are user-defined functions (spelled)
    whose results do.
    `reads_constants`: the value of a constant made a difference (`ORDER BY 2`, set_config).
    `session_bound`: it depends on statements or cursors that this session has made, so the same
    text may do something else in another session, or later.
    `unclear`: why actions are incomplete, in words for the user.
    """

    tag: str
    actions: tuple[Action, ...]
    outputs: tuple[Output, ...] | None = ()
    returns_rows: bool = False
    effects: Effects = NO_EFFECTS
    opaque: bool = False
    relations: frozenset[str] = frozenset()
    compares_unknown: bool = False
    compares_functions: frozenset[str] = frozenset()
    session_bound: bool = False
    reads_constants: bool = False
    unclear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionNames:
    """What this session has made that statements may refer to.

    `prepared`: PREPARE and the protocol's Parse share one namespace; `prepared_facts` are what the
    statement was found to do when it was prepared, if kept (of PREPARE, that statement's own
    facts). PostgreSQL may still run it on what its names meant then, so an EXECUTE that would read
    something else now is refused. `cursors`: DECLARE and the protocol's portals.
    `settled` says that no transaction is open in which names came to mean something else: ending
    it inside a script then changes nothing for what follows.
    """

    prepared: Mapping[str, Script] = field(default_factory=dict)
    cursors: Mapping[str, StatementFacts] = field(default_factory=dict)
    settled: bool = False
    prepared_facts: Mapping[str, StatementFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Analysis:
    """A whole script. `resolution`, `identity` and `shape` are lower-case hex SHA-256.

    `resolution` covers what every name resolved to, and changes when one of them means something
    else; `identity` covers only which objects they are, not how those are defined. `shape` is the
    same for scripts that differ in constants only.
    """

    statements: tuple[StatementFacts, ...]
    resolution: str
    identity: str
    shape: str


@dataclass(frozen=True, slots=True)
class NeedNames:
    """The analysis cannot go on before these names are looked up."""

    names: frozenset[NeededName]
