"""Errors, notices and notifications: vectors, and what real servers say."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.masking.content import KindMasker
from taskgate.model.masks import KindMask, Transform, TransformKind
from taskgate.protocols.postgres.conditions import condition_name
from taskgate.protocols.postgres.notices import WITHHELD_PAYLOAD, scrub_fields, scrub_payload
from tests.protocols.postgres.reports import SECRET, Connection, people, said
from tests.servers import Server

REDACT = Transform(TransformKind.REDACT)
EMAILS = KindMasker([KindMask("email", REDACT, "k")])


def fields(**given: str) -> tuple[tuple[str, str], ...]:
    return (("S", "ERROR"), ("V", "ERROR"), *given.items())


def kept(text: tuple[tuple[str, str], ...], tainted: bool = True) -> dict[str, str]:
    return dict(scrub_fields(text, tainted=tainted))


def test_what_cannot_quote_a_masked_value_stays_word_for_word() -> None:
    text = fields(C="22P02", M=f'invalid "{SECRET}"', D="d", H="h", W="w", F="numutils.c")
    assert scrub_fields(text, tainted=False) == text


def test_values_of_kinds_are_hidden_wherever_they_stand() -> None:
    text = fields(C="22P02", M=SECRET, D=f"x {SECRET}", H=SECRET, W=SECRET, q=SECRET, t=SECRET)
    got = dict(scrub_fields(text, tainted=False, kinds=EMAILS))
    assert SECRET not in str(got)
    assert got["D"] == "x [masked:email]"
    assert got["C"] == "22P02"


def test_a_text_that_might_quote_a_masked_value_is_withheld() -> None:
    got = kept(
        fields(C="22P02", M=SECRET, D=SECRET, H=SECRET, P="9", p="3", q=SECRET, W=SECRET, s=SECRET,
               t=SECRET, c=SECRET, d=SECRET, n=SECRET, F="numutils.c", L="7", R="pg_strtoint32")
    )  # fmt: skip
    assert got == {
        "S": "ERROR", "V": "ERROR", "C": "22P02", "F": "numutils.c", "L": "7",
        "R": "pg_strtoint32", "M": got["M"], "H": got["H"],
    }  # fmt: skip
    assert got["M"].startswith("invalid_text_representation: the gate withheld")


@pytest.mark.parametrize(
    ("given", "stays"),
    [
        ({"C": "42703", "P": "8", "F": "parse_relation.c", "D": "d", "H": "h"}, "PDHM"),
        ({"C": "42601", "P": "1", "F": "scan.l"}, "PM"),
        ({"C": "42P01", "P": "8", "F": "namespace.c"}, "PM"),
        ({"C": "42501", "F": "aclchk.c", "D": "d"}, "M"),
        ({"C": "57014", "F": "postgres.c"}, "M"),
        ({"C": "40P01", "F": "deadlock.c", "D": "d", "H": "h"}, "M"),
        ({"C": "23505", "F": "nbtinsert.c", "D": "d", "s": "s", "t": "t", "n": "n"}, "Mstn"),
        ({"C": "23502", "F": "execMain.c", "D": "d", "c": "c"}, "Mc"),
    ],
)
def test_what_the_server_says_of_names_alone_stays(given: dict[str, str], stays: str) -> None:
    got = kept(fields(M="as it was", **given))
    assert got["M"] == "as it was"
    assert {code for code in got if code not in "SVCFLR"} == set(stays)


@pytest.mark.parametrize(
    "given",
    [
        {"C": "42703", "F": "parse_relation.c"},
        {"C": "42703", "F": "parse_relation.c", "p": "8", "q": SECRET},
        {"C": "42703", "F": "parse_relation.c", "P": "8", "W": "SQL function"},
        {"C": "42601", "F": "scan.l", "P": "5", "W": f'invalid type name "{SECRET}"'},
        {"C": "3F000", "F": "namespace.c"},
        {"C": "42501", "F": "pl_exec.c"},
        {"C": "23505", "F": "pl_exec.c", "n": SECRET},
        {"C": "57014", "F": "plpy_elog.c"},
        {"C": "42501"},
        {"F": "aclchk.c"},
        {"C": "22012", "F": "aclchk.c"},
        {},
    ],
)
def test_neither_sqlstate_nor_file_alone_makes_a_text_safe(given: dict[str, str]) -> None:
    got = kept(fields(M=SECRET, **given))
    assert SECRET not in str(got)


@given(st.lists(st.tuples(st.sampled_from("SVCMDHPpqWstcdnFLRXz"), st.just(SECRET))))
def test_a_secret_in_any_field_of_a_tainted_text_goes(pairs: list[tuple[str, str]]) -> None:
    """All but what no function can write: severity, SQLSTATE, source position."""
    got = scrub_fields(pairs, tainted=True)
    assert all(code in "SVCFLR" for code, text in got if SECRET in text)


def test_payloads() -> None:
    assert scrub_payload(SECRET, tainted=True) == WITHHELD_PAYLOAD
    assert scrub_payload("", tainted=True) == ""
    assert scrub_payload(f"new: {SECRET}", tainted=False, kinds=EMAILS) == "new: [masked:email]"
    assert scrub_payload(SECRET, tainted=False) == SECRET


@pytest.mark.parametrize(
    ("code", "name"),
    [("23505", "unique_violation"), ("22XYZ", "data_exception"), ("ZZ000", "error"), ("", "error")],
)
def test_condition_names(code: str, name: str) -> None:
    assert condition_name(code) == name


# Statements whose error is about the client's own text, names or rights, and what of it stays.
TELLING = [
    ("SELECT emial FROM people", 'column "emial" does not exist'),
    ("SELECT * FROM poeple", 'relation "poeple" does not exist'),
    ("SELECT nofn(email) FROM people", "function nofn(text) does not exist"),
    ("SELECT email FROM people WHERE", "syntax error at end of input"),
    ("SELEC 1", 'syntax error at or near "SELEC"'),
    ("SELECT email::nope FROM people", 'type "nope" does not exist'),
    ("SELECT email + 1 FROM people", "operator does not exist: text + integer"),
    ("SELECT id, count(email) FROM people",
     'column "people.id" must appear in the GROUP BY clause or be used in an aggregate function'),
    ("INSERT INTO people VALUES (1, 'x', 1, 'x')",
     'duplicate key value violates unique constraint "people_pkey"'),
    ("INSERT INTO people VALUES (5, 'x', -1, 'x')",
     'new row for relation "people" violates check constraint "people_age_check"'),
    ("INSERT INTO child VALUES (77)",
     'insert or update on table "child" violates foreign key constraint "child_id_fkey"'),
    ("SET LOCAL statement_timeout = 20; SELECT email, pg_sleep(5) FROM people",
     "canceling statement due to statement timeout"),
    ("SET ROLE tg_without_rights; SELECT * FROM people", "permission denied for table people"),
]  # fmt: skip


@pytest.fixture(scope="module")
def connection(pg: Server) -> Iterator[Connection]:
    """Every case ends in an error, so that one table serves them all."""
    name = pg.new_database("notices")
    with people(pg.connect(name)) as opened:
        opened.execute("CREATE ROLE tg_without_rights")
        yield opened
        opened.execute("DROP ROLE tg_without_rights")
    pg.drop_database(name)


@pytest.mark.parametrize(("statement", "message"), TELLING)
def test_real_errors_about_the_clients_own_text_stay(
    connection: Connection, statement: str, message: str
) -> None:
    [report] = said(connection, statement)
    connection.execute("RESET ROLE")
    got = scrub_fields(report, tainted=True)
    assert dict(got)["M"] == message
    assert SECRET not in str(got)
