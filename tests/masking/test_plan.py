import pytest

from taskgate.masking.plan import (
    UNKNOWN_ORIGIN,
    FieldMask,
    FieldOrigin,
    MaskCounts,
    MaskPlan,
    mask_covers,
    plan_fields,
    relation_is_masked,
)
from taskgate.model.masks import ColumnMask, Compared, KindMask, MaskSet, Transform, TransformKind

REDACT, PARTIAL, NULL, HASH = (
    Transform(TransformKind.REDACT),
    Transform(TransformKind.PARTIAL),
    Transform(TransformKind.NULL),
    Transform(TransformKind.HASH),
)


def mask(relation: str, column: str, transform: Transform = PARTIAL, rule: str = "r") -> ColumnMask:
    return ColumnMask(relation, column, transform, Compared.DENY, rule)


def origin(*sources: tuple[str, str], plain: bool = False) -> FieldOrigin:
    return FieldOrigin(frozenset(sources), plain)


EMAIL = ("sales.customers", "email")
MASKS = MaskSet((mask("sales.customers", "email", PARTIAL, "m[0]"),))


@pytest.mark.parametrize(
    ("field", "planned"),
    [
        (origin(EMAIL, plain=True), FieldMask(PARTIAL, "m[0]")),
        (origin(EMAIL), FieldMask(REDACT, "m[0]", plain=False)),
        (origin(EMAIL, ("sales.customers", "id")), FieldMask(REDACT, "m[0]", plain=False)),
        (origin(("sales.customers", "id"), plain=True), None),
        (origin(("sales.orders", "email"), plain=True), None),
        (origin(("sales.customers", "*")), FieldMask(REDACT, "m[0]", plain=False)),
        (origin(("sales.customers", "*"), plain=True), FieldMask(REDACT, "m[0]", plain=False)),
        (origin(("?", "email"), plain=True), FieldMask(PARTIAL, "m[0]")),
        (origin(('"broken', "email"), plain=True), FieldMask(PARTIAL, "m[0]")),
        (origin(), None),
        (FieldOrigin(None), None),
    ],
)
def test_a_field_is_planned_by_where_it_comes_from(
    field: FieldOrigin, planned: FieldMask | None
) -> None:
    assert plan_fields([field], MASKS).fields == (planned,)


def test_a_field_of_unknown_origin_is_hidden_where_masked_columns_are_in_reach() -> None:
    plan = plan_fields([FieldOrigin(None)], MASKS, reaches_masked=True)
    assert plan.fields == (FieldMask(REDACT, "m[0]", plain=False),)
    two = MaskSet((*MASKS.columns, mask("a.b", "c", NULL, "m[1]")))
    plan = plan_fields([FieldOrigin(None)], two, reaches_masked=True)
    assert plan.fields == (FieldMask(NULL, UNKNOWN_ORIGIN, plain=False),)


def test_reaching_masked_columns_hides_no_field_that_is_known() -> None:
    known = origin(("sales.customers", "id"), plain=True)
    assert plan_fields([known], MASKS, reaches_masked=True).fields == (None,)


def test_the_first_mask_counts_for_a_column() -> None:
    masks = MaskSet((mask("*", "email", HASH, "first"), mask("sales.*", "*", REDACT, "second")))
    plan = plan_fields([origin(EMAIL, plain=True)], masks)
    assert plan.fields == (FieldMask(HASH, "first"),)
    plan = plan_fields([origin(("sales.customers", "id"), plain=True)], masks)
    assert plan.fields == (FieldMask(REDACT, "second"),)


def test_the_first_mask_counts_for_all_names_of_one_column() -> None:
    masks = MaskSet((mask("s.parent", "email", NULL, "first"), mask("s.child", "email", HASH, "x")))
    field = origin(("s.child", "email"), ("s.parent", "email"), plain=True)
    assert plan_fields([field], masks).fields == (FieldMask(NULL, "first"),)


def test_an_expression_over_a_column_masked_as_null_is_null() -> None:
    masks = MaskSet((mask("a.b", "x", REDACT, "one"), mask("a.b", "y", NULL, "two")))
    plan = plan_fields([origin(("a.b", "x"), ("a.b", "y"))], masks)
    assert plan.fields == (FieldMask(NULL, "one", plain=False),)


@pytest.mark.parametrize("names", [("s.p2024", "s.p"), ("s.p", "s.p2024")])
def test_a_partition_is_masked_by_its_parent_and_the_other_way_round(
    names: tuple[str, str],
) -> None:
    masked, read = names
    plan = plan_fields(
        [origin((read, "email"), plain=True)],
        MaskSet((mask(masked, "email"),)),
        also_known={read: (masked,)},
    )
    assert plan.fields == (FieldMask(PARTIAL, "r"),)


@pytest.mark.parametrize(
    ("pattern", "column", "relation", "named", "covered"),
    [
        ("sales.customers", "email", "sales.customers", "email", True),
        ("sales.*", "e*", "sales.customers", "email", True),
        ("*.*", "*", "sales.customers", "anything", True),
        ("*", "email", "a.b", "email", True),
        ("*.customers", "email", 'x."customers"', "email", True),
        ('sales."Kunden"', '"E-Mail"', 'sales."Kunden"', "E-Mail", True),
        ('sales."Kunden"', '"E-Mail"', 'sales."Kunden"', '"E-Mail"', True),
        ("sales.customers", "email", "sales.customers", "Email", False),
        ("sales.customers", "email", "other.customers", "email", False),
        ("sales.*", "email", 'x."sales.y"', "email", False),
        ("sales.customers", "email", "sales.customers", "*", True),
        ("sales..customers", "email", "anything.else", "email", True),
    ],
)
def test_patterns(pattern: str, column: str, relation: str, named: str, covered: bool) -> None:
    assert mask_covers(mask(pattern, column), (relation,), named) is covered


def test_whether_a_relation_is_masked() -> None:
    assert relation_is_masked("sales.customers", MASKS)
    assert not relation_is_masked("sales.orders", MASKS)
    assert relation_is_masked("?", MASKS)


def test_a_plan_is_falsy_if_nothing_is_to_be_done() -> None:
    assert not MaskPlan((None, None))
    assert MaskPlan((None,), (KindMask("email", REDACT, "k"),))
    assert MaskPlan((None, FieldMask(REDACT, "r")))
    assert not plan_fields([origin(EMAIL)], MaskSet())


def test_counts_add_up() -> None:
    counts = MaskCounts()
    assert not counts
    other = MaskCounts()
    other.rules["r"] += 2
    other.kinds["email"] += 2
    counts.add(other)
    counts.add(other)
    assert counts.rules == {"r": 4}
    assert counts.kinds == {"email": 4}
