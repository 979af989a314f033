"""Relations being read or written: what they are called, what is under them, and their actions.

Source: PostgreSQL manual, chapter 41 (rules and views), sections 5.11 and 5.12 (inheritance,
partitions).
"""

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from taskgate.model.limits import MAX_VIEW_DEPTH
from taskgate.model.names import spell
from taskgate.sql.accesses import Access, Beneath, Findings
from taskgate.sql.catalog_query import MAX_RELATIVES
from taskgate.sql.entries import Relation
from taskgate.sql.known import REVEALING, REVEALING_SCHEMAS, metadata_relations
from taskgate.sql.scope import Field, Rows
from taskgate.sql.script import parse_definition
from taskgate.sql.spelling import relation_kind, written
from taskgate.sql.values import UNKNOWN, Value

if TYPE_CHECKING:
    from taskgate.sql.reader import Reader


def find_relation(reader: "Reader", node: pb.RangeVar) -> Relation | None:
    """What a table's name stands for; None if nothing, or it cannot be told."""
    return reader.names.relation(node.schemaname or None, node.relname)


def object_of(relation: Relation | None, node: pb.RangeVar) -> str:
    """How a relation is named in actions."""
    if relation is not None:
        return relation.spelled
    return written(node.schemaname or None, node.relname)


def open_relation(reader: "Reader", node: pb.RangeVar) -> Access:
    """A relation being read. Reading it is an action even if no column is named."""
    relation = find_relation(reader, node)
    access = Access(object_of(relation, node), "table", relation, only=not node.inh)
    reader.findings.accesses.append(access)
    if relation is None:
        # What it stands for later may be a view, under which anything may lie.
        reader.findings.opaque = True
        return access
    access.kind = relation_kind(relation)
    access.revealing = (
        relation.schema in REVEALING_SCHEMAS or (relation.schema, relation.name) in REVEALING
    )
    if len(relation.descendants) > MAX_RELATIVES or len(relation.ancestors) > MAX_RELATIVES:
        reader.unclear(f"{access.object} has more than {MAX_RELATIVES} partitions or children")
    if relation.definition is not None and not _is_metadata(relation):
        access.beneath = _look_beneath(reader, relation, relation.definition)
    return access


def _is_metadata(relation: Relation) -> bool:
    return (relation.schema, relation.name) in metadata_relations()


def rows_of(access: Access) -> Rows:
    """The columns of a relation being read."""
    if access.relation is None:
        return Rows((), Value(unknown=True, fails=True))
    return Rows(tuple(Field(c.name, None, access, c.name) for c in access.relation.columns))


def _look_beneath(reader: "Reader", relation: Relation, definition: str) -> Beneath | None:
    """Reads a view's definition."""
    if relation.spelled in reader.views or len(reader.views) >= MAX_VIEW_DEPTH:
        reader.unclear(f"{relation.spelled} is a view over more than {MAX_VIEW_DEPTH} others")
        return Beneath({}, Findings())
    script = parse_definition(definition)
    inner = reader.beneath(relation.spelled)
    rows = Rows((), UNKNOWN)
    if len(script.statements) == 1 and script.statements[0].tag == "SELECT":
        rows = inner.query(script.statements[0].node, None)
    else:
        reader.unclear(f"the definition of {relation.spelled} is no query")
    for why in inner.findings.unclear:
        reader.unclear(f"{why}, in the view {relation.spelled}")
    names = [c.name for c in relation.columns]
    if rows.rest is not None or len(rows.fields) != len(names):
        values = [UNKNOWN] * len(names)
    else:
        values = [f.value for f in rows.fields]
    return Beneath(dict(zip(names, values, strict=True)), inner.findings)


def metadata_kind(access: Access) -> str:
    """The access's kind, once all its columns are known: `metadata` for the catalog's own."""
    relation = access.relation
    if relation is None:
        return access.kind
    listed = metadata_relations()
    key = (relation.schema, relation.name)
    if key not in listed:
        return access.kind
    allowed = listed[key]
    if allowed is None or (access.columns is not None and access.columns <= allowed):
        return "metadata"
    return access.kind


def relatives(relation: Relation, *, descendants: bool) -> list[str]:
    """The spelled names of those reached along with it."""
    found = [spell(*one) for one in relation.ancestors]
    if descendants:
        found.extend(spell(*one) for one in relation.descendants)
    return found
