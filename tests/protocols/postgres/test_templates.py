"""Which texts may share a verdict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgast import parse

from taskgate.protocols.postgres.templates import template_of

ALIKE = [
    ("SELECT a FROM t WHERE id = 7", "SELECT a FROM t WHERE id = 123456789"),
    ("SELECT a FROM t WHERE n = 'x'", "SELECT a FROM t WHERE n = 'it''s -- not; a /* comment'"),
    ("INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (2, '')"),
    ("SELECT a[1] FROM t1 WHERE b2 = $1", "SELECT a[2] FROM t1 WHERE b2 = $1"),
]
DIFFERENT = [
    ("SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = '1'"),
    ("SELECT a1 FROM t", "SELECT a2 FROM t"),
    ("SELECT a FROM t WHERE b = $1", "SELECT a FROM t WHERE b = $2"),
    ("SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 12345678901"),
    ("SELECT 1.5", "SELECT 2.5"),
    ("SELECT 1a", "SELECT 2a"),
    ("SELECT 0x1F", "SELECT 0x2F"),
    ("SELECT t.a FROM t", "SELECT s.a FROM t"),
]
NONE = [
    "SELECT E'\\'' , 'x'",
    "SELECT U&'\\0061'",
    "SELECT B'1'",
    "SELECT x'1F' || 'a'",
    "SELECT 'a' -- ' , secret FROM t",
    "SELECT 1 -- it's\n, secret FROM t -- '",
    "SELECT /* ' */ secret /* ' */ FROM t",
    "SELECT $$a$$",
    "SELECT $a$ ' $a$, secret, $a$ ' $a$",
    'SELECT "a 1" FROM t',
    "SELECT 'open",
    "SELECT $1a",
    "SELECT n'x'",
    "SELECT '\x01' , 1",
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_texts_that_differ_in_plain_literals_have_one_template(one: str, other: str) -> None:
    assert template_of(one) is not None
    assert template_of(one) == template_of(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_texts_that_differ_in_more_do_not(one: str, other: str) -> None:
    assert template_of(one) != template_of(other)


@pytest.mark.parametrize("text", NONE)
def test_what_might_hide_a_literal_has_no_template(text: str) -> None:
    assert template_of(text) is None


# Pieces that are hard to cut apart, put together at random.
_PIECES = st.sampled_from(
    ["'", "''", "a", "E", "U&", "x", "$", "$1", "$$", "$a$", "1", "23", ".", "--", "/*", "*/",
     "\n", " ", ",", "\\", '"', "(", ")", "-", "é", "€", ";", "select", "from", "||", "_"]
)  # fmt: skip


def _tokens(text: str) -> list[object] | None:
    """The tree's shape by PostgreSQL's own parser, constants' values left out; None where it does
    not parse."""
    try:
        tree = parse(text)
    except Exception:
        return None
    shape: list[object] = []

    def walk(message: object) -> None:
        for field, value in message.ListFields():  # type: ignore[attr-defined]
            if field.name in ("location", "stmt_len", "stmt_location", "end_location",
                              "list_start", "list_end", "rexpr_list_start", "rexpr_list_end",
                              "name_location"):  # fmt: skip
                continue
            if field.message_type is not None and field.message_type.name == "A_Const":
                one = value
                shape.append(("const", one.WhichOneof("val")))
                continue
            shape.append(field.name)
            if field.message_type is None:
                shape.append(str(value))
            elif isinstance(value, (list,)) or hasattr(value, "__len__"):
                for item in value:
                    walk(item)
            else:
                walk(value)

    walk(tree)
    return shape


@given(st.lists(_PIECES, max_size=24), st.lists(_PIECES, max_size=24))
def test_texts_of_one_template_have_one_tree(one: list[str], other: list[str]) -> None:
    first, second = "select " + "".join(one), "select " + "".join(other)
    template = template_of(first)
    if template is None or template != template_of(second):
        return
    assert _tokens(first) == _tokens(second)


@given(st.lists(_PIECES, max_size=24), st.text("abc'é\\-$ ", max_size=6), st.integers(0, 999999999))
def test_changing_a_literal_changes_no_tree(pieces: list[str], text: str, number: int) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    around = "".join(pieces)
    first = f"select 'x' , 5 from t where a = {around}"
    second = f"select {quoted} , {number} from t where a = {around}"
    if template_of(first) is None or template_of(first) != template_of(second):
        return
    assert _tokens(first) == _tokens(second)
