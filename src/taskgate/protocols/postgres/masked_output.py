"""From lineage and row descriptions to rewriters: what of a result is hidden, and who does it."""

from collections.abc import Sequence
from typing import Protocol

from taskgate.masking.content import KindMasker
from taskgate.masking.plan import FieldOrigin, MaskCounts, plan_fields
from taskgate.model.errors import ProtocolViolation
from taskgate.model.limits import KIB
from taskgate.model.masks import MaskSet
from taskgate.model.names import spell
from taskgate.protocols.postgres.copy_rows import CopyFormat, CopyRewriter
from taskgate.protocols.postgres.judging import Judged, might_show_masked
from taskgate.protocols.postgres.messages import CopyResponse, Field, parse_row_description
from taskgate.protocols.postgres.notices import scrub_fields, scrub_payload
from taskgate.protocols.postgres.rewrite import RowRewriter
from taskgate.sql.catalog import Catalog, Relation
from taskgate.sql.facts import Output, StatementFacts

# pg_class.relkind of views and materialized views.
_VIEWS = ("v", "m")
# Attribute numbers of system columns (PostgreSQL source, src/include/access/sysattr.h).
_SYSTEM_COLUMNS = {-1: "ctid", -2: "xmin", -3: "cmin", -4: "xmax", -5: "cmax", -6: "tableoid"}


# An unresolved name is covered by every mask.
_ANY_TABLE = FieldOrigin(frozenset({("?", "*")}))


class MaskedOutput(Protocol):
    """Rewrites the frames of one result: DataRow, or CopyData."""

    @property
    def counts(self) -> MaskCounts:
        """What was hidden so far."""
        ...

    def rewrite(self, frames: bytes) -> bytes:
        """Whole frames in, whole frames out.

        Raises:
            ProtocolViolation: they are not what was described.
        """
        ...

    def finish(self) -> bytes:
        """What is left at the end of the result."""
        ...


class _Refused:
    """Rows whose columns nobody described: under a mask, none of them may pass."""

    counts = MaskCounts()

    def rewrite(self, frames: bytes) -> bytes:
        raise ProtocolViolation("the resource sent rows that it did not describe")

    def finish(self) -> bytes:
        return b""


REFUSED_ROWS: MaskedOutput = _Refused()


# Plans remembered with one verdict: a text has one result, or a few (formats, statements).
_MAX_PLANS = 8
_MAX_DESCRIPTION_KEY_BYTES = 4 * KIB


def plan_rows(
    judged: Judged,
    facts: StatementFacts,
    fields: tuple[Field, ...],
    formats: tuple[int, ...],
    key: bytes,
) -> MaskedOutput | None:
    """The rewriter of a result with these columns; None where nothing is hidden.

    `formats` are as in Bind: none (all text), one for all, or one each. A plan is made once for a
    verdict and a description, and used again for each run.
    """
    if not judged.decision.masks or not fields:
        return None
    described = (id(facts), fields, formats)
    if described not in judged.plans:
        _keep(judged, described, _make(judged, facts, fields, formats, key))
    made = judged.plans[described]
    return made.again() if made is not None else None


def plan_described(
    judged: Judged, facts: StatementFacts, frame: bytes, key: bytes
) -> MaskedOutput | None:
    """As `plan_rows`, from a simple query's RowDescription. A short one that was met before need
    not be read again.

    Raises:
        ProtocolViolation: the frame is no RowDescription.
    """
    described = (id(facts), frame)
    if described not in judged.plans:
        fields = parse_row_description(frame)
        formats = tuple([field.format for field in fields])
        if len(frame) > _MAX_DESCRIPTION_KEY_BYTES or not fields:
            return plan_rows(judged, facts, fields, formats, key)
        _keep(judged, described, _make(judged, facts, fields, formats, key))
    made = judged.plans[described]
    return made.again() if made is not None else None


def _keep(judged: Judged, described: tuple[object, ...], made: RowRewriter | None) -> None:
    if len(judged.plans) >= _MAX_PLANS:
        judged.plans.clear()
    judged.plans[described] = made


def _make(
    judged: Judged,
    facts: StatementFacts,
    fields: tuple[Field, ...],
    formats: tuple[int, ...],
    key: bytes,
) -> RowRewriter | None:
    masks = judged.decision.masks
    also_known: dict[str, tuple[str, ...]] = {}
    plan = plan_fields(
        _origins(judged, facts, fields, also_known),
        masks,
        also_known=also_known,
        reaches_masked=might_show_masked(facts, masks),
    )
    if not plan:
        return None
    codes = formats or (0,)
    if len(codes) == 1:
        codes = codes * len(fields)
    return RowRewriter(plan, [field.type_oid for field in fields], codes, key)


def _origins(
    judged: Judged,
    facts: StatementFacts,
    fields: Sequence[Field],
    also_known: dict[str, tuple[str, ...]],
) -> list[FieldOrigin]:
    """Where each field comes from: by PostgreSQL's own word where it gives one (table and
    attribute number), else by what the text says. `also_known` gets the parents and children of
    the tables that PostgreSQL names; what the text says has them in it."""
    outputs = facts.outputs
    if outputs is not None and len(outputs) != len(fields):
        outputs = None
    origins: list[FieldOrigin] = []
    for position, field in enumerate(fields):
        told = outputs[position] if outputs is not None else None
        read = _read(told, judged.decision.trusted)
        if not field.table_oid:
            origins.append(read)
            continue
        relation = judged.catalog.relation_by_oid(field.table_oid)
        column = None if relation is None else _column(relation, field.attnum)
        if relation is None or column is None:
            # A table that nobody looked up: PostgreSQL may still run a plan made when the names
            # meant something else. Under any column mask such a value is hidden.
            origins.append(_ANY_TABLE)
            continue
        stored = (relation.spelled, column)
        if relation.kind in _VIEWS:
            # The text says what is behind a view's column.
            sources = None if read.sources is None else read.sources | {stored}
            origins.append(FieldOrigin(sources, plain=read.plain))
        else:
            relatives = (*relation.ancestors, *relation.descendants)
            also_known[relation.spelled] = tuple(spell(*name) for name in relatives)
            origins.append(FieldOrigin(frozenset({stored}), plain=True))
    return origins


def _read(output: Output | None, trusted: frozenset[str]) -> FieldOrigin:
    if output is None:
        return FieldOrigin(None)
    if output.sources is not None:
        return FieldOrigin(
            frozenset((s.relation, s.column) for s in output.sources), plain=output.plain
        )
    if output.functions and output.functions <= trusted:
        # Only functions hide the origin, and the task says that their results may be shown.
        return FieldOrigin(frozenset((s.relation, s.column) for s in output.at_least))
    return FieldOrigin(None)


def _column(relation: Relation, number: int) -> str | None:
    """A column's name by its attribute number; system columns (ctid, xmin, tableoid) have negative
    ones and show no user's data."""
    if number < 0:
        return _SYSTEM_COLUMNS.get(number)
    return next((c.name for c in relation.columns if c.number == number), None)


def plan_copy(
    judged: Judged, facts: StatementFacts, response: CopyResponse, key: bytes
) -> MaskedOutput | None:
    """The rewriter of a COPY to the client; None where nothing is hidden."""
    masks = judged.decision.masks
    copy = facts.effects.copy
    if not masks:
        return None
    if copy is None or copy.direction != "to":
        return REFUSED_ROWS
    outputs: Sequence[Output | None] = copy.fields or (None,) * len(response.columns)
    if len(outputs) != len(response.columns):
        outputs = (None,) * len(response.columns)
    origins = [_read(output, judged.decision.trusted) for output in outputs]
    plan = plan_fields(origins, masks, reaches_masked=might_show_masked(facts, masks))
    if not plan:
        return None
    layout = CopyFormat(
        kind=copy.format,
        delimiter=copy.delimiter,
        null=copy.null,
        quote=copy.quote,
        escape=copy.escape,
        header=copy.header != "false",
        encoding=copy.encoding or "UTF8",
    )
    return CopyRewriter(plan, layout, [_type(judged.catalog, o) for o in outputs], key)


def _type(catalog: Catalog, output: Output | None) -> int:
    """The type OID of a field that is one stored column; 0 where that is not known."""
    if output is None or not output.plain or not output.sources:
        return 0
    types = {catalog.column_type(s.relation, s.column) for s in output.sources}
    return types.pop() if len(types) == 1 else 0


def scrubbed(
    fields: Sequence[tuple[str, str]], masks: MaskSet, key: bytes, *, tainted: bool
) -> tuple[tuple[str, str], ...]:
    """An error's or notice's fields with what might quote a hidden value taken out."""
    return scrub_fields(tuple(fields), tainted=tainted, kinds=_kinds(masks, key))


def scrubbed_payload(payload: str, masks: MaskSet, key: bytes) -> str:
    """A notification's payload; withheld where the task masks columns, for anyone may have put
    their values into it."""
    return scrub_payload(payload, tainted=bool(masks.columns), kinds=_kinds(masks, key))


def _kinds(masks: MaskSet, key: bytes) -> KindMasker | None:
    return KindMasker(masks.kinds, key, MaskCounts()) if masks.kinds else None
