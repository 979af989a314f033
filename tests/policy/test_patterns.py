import pytest

from taskgate.policy.patterns import parse_column, parse_object
from taskgate.policy.shapes import PatternError
from taskgate.policy.vocabulary import POSTGRES, NameShape, VerbSpec

SPECS = {**POSTGRES.verbs, "any": VerbSpec("any", "", NameShape.FLEXIBLE)}


@pytest.mark.parametrize(
    ("verb", "text", "name"),
    [
        ("select", "sales.orders", ("sales", "orders")),
        ("select", '"My Schema".t', ("My Schema", "t")),
        ("select", '"a.b"."c""d"', ("a.b", 'c"d')),
        ("select", '"größe"."straße"', ("größe", "straße")),
        ("select", " sales.orders ", ("sales", "orders")),
        ("set", "DateStyle", ("datestyle",)),
        ("set", "app.user", ("app.user",)),
        ("listen", '"My Channel"', ("My Channel",)),
        ("create", "schema:sales", ("sales",)),
        ("create", "s.t.trg", ("s", "t", "trg")),
    ],
)
def test_patterns_match_their_names(verb: str, text: str, name: tuple[str, ...]) -> None:
    pattern = parse_object(text, SPECS[verb], POSTGRES)
    assert pattern.name.matches(name)
    assert not pattern.name.matches((*name[:-1], name[-1] + "x"))


@pytest.mark.parametrize(
    ("verb", "text", "said", "hint"),
    [
        ("select", "orders", "has no schema", "public.orders"),
        ("drop", "orders", "has no schema", "schema:orders"),
        ("select", "sales.orders.id", "3 parts", "sales.orders(id)"),
        ("select", "a.b.c.d", "4 parts", "quoted"),
        ("select", "", "empty", ""),
        ("select", "sales.", "not a name", "quote"),
        ("select", ".orders", "not a name", "quote"),
        ("select", "sales orders", "not a plain name", "quote"),
        ("select", "sales.or-ders", "not a plain name", "quote"),
        ("select", "sales.a**b", "two stars", ""),
        ("select", "Sales.Orders", "lower case", '"Sales"."Orders"'),
        ("select", "größe.t", "quoted", '"größe".t'),
        ("select", "s\u0430les.t", "look-alike", ""),
        ("select", '"s\u0430les".t', "look-alike", ""),
        ("select", "ｓales.t", "look-alike", ""),
        ("select", "sa\u200bles.t", "invisible", ""),
        ("select", '"sales\u202e".t', "invisible", ""),
        ("select", "sales.customers(id", "brackets", "quote the whole pattern"),
        ("select", "email)", "without its (", "quote the whole pattern"),
        ("select", "s.t(a)(b)", "brackets", ""),
        ("select", "s.t()", "empty column", ""),
        ("select", "s.t(a,)", "empty column", ""),
        ("select", "s.t(a, a)", "listed twice", ""),
        ("select", "s.t(*)", "one name", "leave the brackets out"),
        ("select", "s.t(a.b)", "one name", ""),
        ("delete", "s.t(a)", "takes no columns", "write s.t"),
        ("call", "s.f(int)", "takes no columns", "write s.f"),
        ("select", "table:s.t", "takes no kind", "write s.t"),
        ("drop", "shema:s", "unknown kind", "did you mean schema?"),
        ("drop", "Schema:s", "unknown kind", "did you mean schema?"),
        ("drop", " : s", "unknown kind", ""),
        ("select", "@catalogue", "unknown word", "@catalog"),
        ("insert", "@catalog", "to select from", ""),
        ("select", "s." + "x" * 64, "longer than 63 bytes", ""),
        ("select", 's."' + "é" * 32 + '"', "longer than 63 bytes", ""),
    ],
)
def test_patterns_that_cannot_be_meant(verb: str, text: str, said: str, hint: str) -> None:
    with pytest.raises(PatternError) as caught:
        parse_object(text, SPECS[verb], POSTGRES)
    assert said in str(caught.value)
    assert hint in caught.value.hint


def test_columns_are_split_outside_quotes() -> None:
    pattern = parse_object('s.t(id, "a, b", c_*)', SPECS["select"], POSTGRES)
    assert pattern.columns is not None
    assert [column.literal for column in pattern.columns] == ["id", "a, b", None]


@pytest.mark.parametrize(
    ("text", "relation", "column"),
    [
        ("s.t.email", ("s", "t"), "email"),
        ("*.*.email", ("x", "y"), "email"),
        ("s.*.*", ("s", "y"), "anything"),
        ('"S"."t.x"."E"', ("S", "t.x"), "E"),
    ],
)
def test_masked_columns(text: str, relation: tuple[str, str], column: str) -> None:
    name, part = parse_column(text, POSTGRES)
    assert name.matches(relation)
    assert part.matches(column)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("email", "*.*.email"),
        ("t.email", "public.t.email"),
        ("*", "*.*.*"),
        ("a.b.c.d", "schema.table.column"),
        ("s.t(email)", "schema.table.column"),
        ("S.t.email", '"S".t.email'),
    ],
)
def test_masked_columns_are_written_whole(text: str, hint: str) -> None:
    with pytest.raises(PatternError) as caught:
        parse_column(text, POSTGRES)
    assert hint in caught.value.hint
