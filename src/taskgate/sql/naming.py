"""What statements about objects name: existing objects resolved, new ones placed.

Source: PostgreSQL's `nodes/parsenodes.h` (ObjectType) for the forms that names take; manual,
section 5.10.3 for where new objects go.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.model.action import Action
from taskgate.model.names import spell, split
from taskgate.sql import relations
from taskgate.sql.entries import own_temporary
from taskgate.sql.nodes import Node, opened, strings
from taskgate.sql.spelling import SYSTEM, relation_kind, split_name, unresolved, written

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader

Named = tuple[str, str]

_RELATIONS = {
    pb.OBJECT_TABLE: "table",
    pb.OBJECT_VIEW: "view",
    pb.OBJECT_MATVIEW: "materialized_view",
    pb.OBJECT_INDEX: "index",
    pb.OBJECT_SEQUENCE: "sequence",
    pb.OBJECT_FOREIGN_TABLE: "table",
}
# Parts of a relation: the last name is the part's own, and the relation's is what counts.
_PARTS = {
    pb.OBJECT_COLUMN: "column",
    pb.OBJECT_TABCONSTRAINT: "constraint",
    pb.OBJECT_TRIGGER: "trigger",
    pb.OBJECT_RULE: "rule",
    pb.OBJECT_POLICY: "policy",
    pb.OBJECT_ATTRIBUTE: "column",
}
_TYPES = frozenset({pb.OBJECT_TYPE, pb.OBJECT_DOMAIN})
_ROUTINES = frozenset(
    {pb.OBJECT_FUNCTION, pb.OBJECT_PROCEDURE, pb.OBJECT_ROUTINE, pb.OBJECT_AGGREGATE}
)
_SINGLE = {
    pb.OBJECT_SCHEMA: "schema",
    pb.OBJECT_DATABASE: "database",
    pb.OBJECT_ROLE: "role",
    pb.OBJECT_TABLESPACE: "tablespace",
    pb.OBJECT_EXTENSION: "extension",
    pb.OBJECT_LANGUAGE: "language",
    pb.OBJECT_FDW: "foreign_data_wrapper",
    pb.OBJECT_FOREIGN_SERVER: "server",
    pb.OBJECT_EVENT_TRIGGER: "event_trigger",
    pb.OBJECT_PUBLICATION: "publication",
    pb.OBJECT_SUBSCRIPTION: "subscription",
    pb.OBJECT_ACCESS_METHOD: "access_method",
    pb.OBJECT_PARAMETER_ACL: "setting",
    pb.OBJECT_LARGEOBJECT: "large_object",
}
_QUALIFIED = {
    pb.OBJECT_COLLATION: "collation",
    pb.OBJECT_CONVERSION: "conversion",
    pb.OBJECT_STATISTIC_EXT: "statistics",
    pb.OBJECT_TSPARSER: "text_search",
    pb.OBJECT_TSDICTIONARY: "text_search",
    pb.OBJECT_TSTEMPLATE: "text_search",
    pb.OBJECT_TSCONFIGURATION: "text_search",
    pb.OBJECT_OPERATOR: "operator",
    pb.OBJECT_OPCLASS: "operator_class",
    pb.OBJECT_OPFAMILY: "operator_family",
}
_BETWEEN_TYPES = {pb.OBJECT_CAST: "cast", pb.OBJECT_TRANSFORM: "transform"}


def act(reader: "Reader", verb: str, named: Iterable[Named], *, write: bool = True) -> None:
    """One action for each object."""
    for name, kind in named:
        reader.findings.act(Action(verb, name, kind, write))


def existing_relation(reader: "Reader", node: pb.RangeVar, kind: str = "table") -> Named:
    """A relation that should be there."""
    relation = relations.find_relation(reader, node)
    return (
        relations.object_of(relation, node),
        kind if relation is None else relation_kind(relation),
    )


def existing_relation_by_name(reader: "Reader", parts: Sequence[str], kind: str = "table") -> Named:
    schema, name = split_name(parts)
    relation = reader.names.relation(schema, name)
    if relation is None:
        return written(schema, name), kind
    return relation.spelled, relation_kind(relation)


def existing_type(reader: "Reader", parts: Sequence[str]) -> Named:
    schema, name = split_name(parts)
    if schema == SYSTEM:
        return spell(SYSTEM, name), "type"
    found = reader.names.type(schema, name)
    if found is None:
        return written(schema, name), "type"
    return spell(own_temporary(found.schema), found.name), "type"


def existing_routines(reader: "Reader", parts: Sequence[str]) -> list[Named]:
    """Every function that may be meant: overloads may lie in several schemas."""
    schema, name = split_name(parts)
    found = reader.names.routines(schema, name)
    spelled = dict.fromkeys(r.spelled for r in found) or {written(schema, name): None}
    return [(one, "function") for one in spelled]


def new_relation(reader: "Reader", node: pb.RangeVar, kind: str = "table") -> Named:
    """A relation to be made."""
    if node.relpersistence == "t":
        return spell("pg_temp", node.relname), kind
    if node.schemaname:
        return spell(own_temporary(node.schemaname), node.relname), kind
    return _placed(reader, node.relname), kind


def new_object(reader: "Reader", parts: Sequence[str], kind: str) -> Named:
    """Another schema's object to be made."""
    schema, name = split_name(parts)
    if schema is not None:
        return spell(own_temporary(schema), name), kind
    return _placed(reader, name), kind


def _placed(reader: "Reader", name: str) -> str:
    """An unqualified new name, where the search path puts it."""
    names = reader.names
    if names.creating_in:
        return spell(names.creating_in, name)
    if names.blind(None):
        return unresolved(name)
    # The catalog says where new objects go once anything has been looked up in it.
    names.relation(None, name)
    schema = names.catalog.creation_schema
    return spell(own_temporary(schema), name) if schema else unresolved(name)


def objects_of(
    reader: "Reader", kind: "pb.ObjectType", node: Node, relation: pb.RangeVar | None = None
) -> list[Named]:
    """The objects that a name of this kind stands for. A kind not known here makes the statement
    incomplete."""
    word = _RELATIONS.get(kind)
    if relation is not None and relation.relname:
        return [existing_relation(reader, relation, word or "table")]
    which, inner = opened(node)
    parts = _parts(which, inner)
    if word is not None:
        return [existing_relation_by_name(reader, parts, word)]
    if kind in _PARTS:
        return [(existing_relation_by_name(reader, parts[:-1])[0], _PARTS[kind])]
    if kind in _TYPES:
        return [existing_type(reader, parts)]
    if kind == pb.OBJECT_DOMCONSTRAINT:
        return [existing_type(reader, _parts(*opened(inner.items[0])))]
    if kind in _ROUTINES:
        return existing_routines(reader, parts)
    if kind in _SINGLE and parts:
        return [(spell(parts[-1]), _SINGLE[kind])]
    if kind in _QUALIFIED and parts:
        schema, name = split_name(parts)
        if kind in (pb.OBJECT_OPCLASS, pb.OBJECT_OPFAMILY):
            # The access method comes first.
            schema, name = split_name(parts[1:])
        return [(written(schema, name), _QUALIFIED[kind])]
    if kind in _BETWEEN_TYPES and which == "list":
        ends = [_parts(*opened(n)) for n in inner.items]
        return [(spell(" to ".join(e[-1] for e in ends if e)), _BETWEEN_TYPES[kind])]
    reader.unclear(f"an object of a kind that is not known here ({kind})")
    return []


def _parts(which: str, inner: object) -> tuple[str, ...]:
    """The dotted name in any of the forms that the grammar uses."""
    if isinstance(inner, pb.List):
        return strings(inner.items)
    if isinstance(inner, pb.TypeName):
        return strings(inner.names)
    if isinstance(inner, pb.ObjectWithArgs):
        return strings(inner.objname)
    if isinstance(inner, pb.String):
        return (inner.sval,)
    if isinstance(inner, pb.Integer):
        return (str(inner.ival),)
    if isinstance(inner, pb.Float):
        return (inner.fval,)
    if isinstance(inner, pb.RangeVar):
        return (inner.schemaname, inner.relname) if inner.schemaname else (inner.relname,)
    return ()


def cascade(reader: "Reader", verb: str, behavior: "pb.DropBehavior") -> None:
    """CASCADE takes along whatever depends on the object: that may be anything."""
    if behavior == pb.DROP_CASCADE:
        reader.findings.act(Action(verb, "?.?", "dependent", True))


def name_beside(name: str, new: str) -> str:
    """Another name in the schema of `name` (spelled); alone if that has none."""
    parts = split(name)
    if len(parts) < 2:
        return spell(new)
    return f"{_spell_part(parts[0])}.{spell(new)}"


def name_within(name: str, schema: str) -> str:
    """The same name in another schema."""
    return f"{spell(schema)}.{_spell_part(split(name)[-1])}"


def _spell_part(part: str | None) -> str:
    return "?" if part is None else spell(part)
