"""The verbs that rules may use, for each protocol.

A protocol's `spec.py` shows its own `RuleVocabulary`; this module has the type and the one for
PostgreSQL (`vocabularies` has them all), so that the policy can be read and checked without
importing any protocol.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

ANY_VERB = "any"


class NameShape(StrEnum):
    """What the objects of a verb look like."""

    QUALIFIED = "qualified"  # schema.name, always two parts
    SINGLE = "single"  # one name: a setting, a channel, a role
    FLEXIBLE = "flexible"  # either; a name of one part is written with its kind (`schema:sales`)
    COMMAND = "command"  # an argument vector
    PATH = "path"  # an absolute path
    ENDPOINT = "endpoint"  # host:port


@dataclass(frozen=True, slots=True)
class VerbSpec:
    """One verb. `also` names verbs whose deny and hold rules count for this one too, because it
    has their effect (TRUNCATE removes rows as DELETE does). `folded` objects are lower case
    whatever the writer typed (settings). `ungated` verbs need no permit. `stores`: what a request
    reads may be kept by this verb where it can be read again."""

    name: str
    about: str
    shape: NameShape = NameShape.QUALIFIED
    columns: bool = False
    also: tuple[str, ...] = ()
    folded: bool = False
    ungated: bool = False
    stores: bool = False


@dataclass(frozen=True, slots=True)
class RuleVocabulary:
    """What one protocol's rules are made of.

    `groups` are short names for several verbs. `system_schemas` are reached only by patterns that
    name them (or by `any: ["*"]`). `revealing` relations show the values of other relations'
    columns, as all of `revealing_schemas` do: a task with column masks reads them only where a
    rule names them outright. `kinds` are the words that may stand before a name (`schema:sales`).
    `max_name_bytes` is the longest part of a name (UTF-8). `example` is what a rule may look like.
    `relational`: objects have schemas and columns, answers have rows.
    """

    protocol: str
    default_port: int
    verbs: Mapping[str, VerbSpec]
    groups: Mapping[str, tuple[str, ...]]
    group_about: Mapping[str, str]
    default_schema: str
    system_schemas: frozenset[str]
    revealing: frozenset[tuple[str, str]]
    revealing_schemas: frozenset[str]
    kinds: frozenset[str]
    max_name_bytes: int
    example: str = "select: [schema.table]"
    relational: bool = True

    def spec(self, verb: str) -> VerbSpec | None:
        return self.verbs.get(verb)

    def expand(self, word: str) -> tuple[str, ...]:
        """The verbs behind a key of a rule; `any` stays itself."""
        return self.groups.get(word, (word,))

    def deny_verbs(self, verb: str) -> tuple[str, ...]:
        """The verbs whose deny and hold rules count for an action of `verb`."""
        spec = self.verbs.get(verb)
        return (verb, *spec.also) if spec is not None else (verb,)

    def words(self) -> tuple[str, ...]:
        """Every key a rule may use for verbs."""
        return (*self.verbs, *self.groups, ANY_VERB)


def nearest(word: str, known: Iterable[str]) -> str:
    """A suggestion for a mistyped word: `did you mean x?`, or the words there are."""
    by_lower = {one.lower(): one for one in sorted(known)}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if near:
        return f"did you mean {by_lower[near[0]]}?"
    return f"known here: {', '.join(by_lower.values())}" if by_lower else ""


_Q, _S, _F = NameShape.QUALIFIED, NameShape.SINGLE, NameShape.FLEXIBLE

_POSTGRES_VERBS = (
    VerbSpec("select", "read rows (SELECT, TABLE, COPY ... TO STDOUT)", _Q, columns=True),
    VerbSpec("insert", "add rows", _Q, columns=True, stores=True),
    VerbSpec("update", "change rows", _Q, columns=True, stores=True),
    VerbSpec("delete", "remove rows", _Q),
    VerbSpec(
        "truncate", "empty a table; a deny or hold of delete counts too", _Q, also=("delete",)
    ),
    VerbSpec(
        "copy_from",
        "COPY ... FROM STDIN; a deny or hold of insert counts too",
        _Q,
        columns=True,
        also=("insert",),
    ),
    VerbSpec(
        "copy_from_file", "COPY ... FROM a file of the server", _Q, columns=True, also=("insert",)
    ),
    VerbSpec(
        "copy_from_program",
        "COPY ... FROM a program on the server",
        _Q,
        columns=True,
        also=("insert",),
    ),
    VerbSpec(
        "copy_to_file",
        "COPY ... TO a file of the server",
        _Q,
        columns=True,
        also=("select",),
        stores=True,
    ),
    VerbSpec(
        "copy_to_program",
        "COPY ... TO a program on the server",
        _Q,
        columns=True,
        also=("select",),
        stores=True,
    ),
    VerbSpec("references", "make a foreign key to a table, which tells its keys", _Q, columns=True),
    VerbSpec("lock", "LOCK TABLE, and rows locked by SELECT ... FOR UPDATE", _Q),
    VerbSpec(
        "call",
        "call a function or procedure; the safe built-in functions need no rule",
        _Q,
    ),
    VerbSpec("do", "run an anonymous code block, by language", _S),
    VerbSpec("set", "SET or RESET a setting; the safe settings need no rule", _S, folded=True),
    VerbSpec("show", "SHOW a setting; the safe settings need no rule", _S, folded=True),
    VerbSpec("set_role", "SET ROLE, SET SESSION AUTHORIZATION", _S),
    VerbSpec("discard", "DISCARD: `all`, `plans`, `sequences` or `temp`", _S),
    VerbSpec("alter_system", "ALTER SYSTEM, by setting", _S, folded=True),
    VerbSpec("load", "LOAD a library, by file name", _S),
    VerbSpec("checkpoint", "CHECKPOINT", _S),
    VerbSpec("two_phase", "PREPARE TRANSACTION and what ends it, by its name", _S),
    VerbSpec("listen", "LISTEN on a channel", _S),
    VerbSpec("unlisten", "UNLISTEN a channel", _S),
    VerbSpec("notify", "NOTIFY a channel", _S),
    VerbSpec("create", "create an object", _F, stores=True),
    VerbSpec("alter", "alter or rename an object", _F, stores=True),
    VerbSpec("drop", "drop an object", _F),
    VerbSpec("comment", "COMMENT ON an object", _F),
    VerbSpec("grant", "GRANT, REVOKE and default privileges", _F),
    VerbSpec("security_label", "SECURITY LABEL", _F),
    VerbSpec("refresh", "REFRESH MATERIALIZED VIEW", _Q, stores=True),
    VerbSpec("vacuum", "VACUUM", _F),
    VerbSpec("analyze", "ANALYZE", _F),
    VerbSpec("reindex", "REINDEX", _F),
    VerbSpec("cluster", "CLUSTER", _F),
    VerbSpec("transaction", "BEGIN, COMMIT, SAVEPOINT and so on", _S, ungated=True),
)

POSTGRES = RuleVocabulary(
    protocol="postgres",
    default_port=5432,
    verbs={verb.name: verb for verb in _POSTGRES_VERBS},
    groups={
        "read": ("select",),
        "write": ("insert", "update", "delete", "truncate", "copy_from"),
        "define": ("create", "alter", "drop", "comment", "grant", "security_label"),
    },
    group_about={
        "read": "select",
        "write": "insert, update, delete, truncate and copy_from",
        "define": "create, alter, drop, comment, grant and security_label",
    },
    default_schema="public",
    system_schemas=frozenset({"pg_catalog", "information_schema", "pg_toast"}),
    revealing=frozenset(
        ("pg_catalog", name)
        for name in (
            "pg_statistic",
            "pg_statistic_ext_data",
            "pg_stats",
            "pg_stats_ext",
            "pg_stats_ext_exprs",
            "pg_largeobject",
            "pg_stat_activity",
        )
    ),
    revealing_schemas=frozenset({"pg_toast"}),
    kinds=frozenset(
        {
            "access_method",
            "cast",
            "collation",
            "conversion",
            "database",
            "event_trigger",
            "extension",
            "foreign_data_wrapper",
            "function",
            "index",
            "language",
            "large_object",
            "materialized_view",
            "operator",
            "operator_class",
            "operator_family",
            "owned",
            "policy",
            "publication",
            "role",
            "rule",
            "schema",
            "sequence",
            "server",
            "setting",
            "statistics",
            "subscription",
            "table",
            "tablespace",
            "text_search",
            "transform",
            "trigger",
            "type",
            "user_mapping",
            "view",
        }
    ),
    max_name_bytes=63,
)
