"""One name, two meanings: what the gate judged under a name is not what the server runs.

Each case is the verdict that a user gets, shown against a real server. Append only.
"""

import pytest

from tests.evasions.live import (
    FLUSH,
    SECRET,
    SYNC,
    Live,
    Session,
    bind,
    close,
    execute,
    extended,
    parse,
    query,
)

HARMLESS = "SELECT status FROM app.orders WHERE id = 1"
HELD = "UPDATE app.orders SET status = 'got' WHERE id = 1"
# A result that PostgreSQL names no table for: only the text says where it comes from.
SHOWN = "SELECT region || '' AS x FROM app.people"
MASKED = "SELECT email || '' AS x FROM app.people"
LONG = "n" * 63


def untouched(live: Live) -> bool:
    """Whether the held statement has not run; put right for the next case."""
    found = live.behind("SELECT status FROM app.orders WHERE id = 1")
    live.behind("UPDATE app.orders SET status = 'new' WHERE status <> 'new'")
    return found == "new"


def begun(session: Session) -> Session:
    session.ask("BEGIN")
    return session


def test_a_portals_name_used_again_in_a_pipeline_is_not_the_old_portal(live: Live) -> None:
    with live.session("keeper") as s:
        s.cycles(
            2, *extended(HARMLESS, "a", "p"), SYNC, parse("b", HELD), bind("p", "b"),
            execute("p"), SYNC,
        )  # fmt: skip
        assert untouched(live)
    with live.session("masked") as s:
        s.cycles(
            2, *extended(SHOWN, "a", "p"), SYNC, *extended(MASKED, "b", "p"), SYNC
        )  # fmt: skip
        assert SECRET not in s.seen


def test_a_portal_dropped_by_a_rollback_in_the_same_pipeline_is_not_run_as_it_was(
    live: Live,
) -> None:
    with live.session("keeper") as s:
        begun(s)
        s.cycles(
            1, *extended("SAVEPOINT x"), *extended(HARMLESS, "a", "p"),
            *extended("ROLLBACK TO x"), parse("b", HELD), bind("p", "b"), execute("p"),
            *extended("COMMIT"), SYNC,
        )  # fmt: skip
        assert untouched(live)


def test_a_statement_deallocated_in_the_same_pipeline_is_not_run_as_it_was(live: Live) -> None:
    for deallocate in (query("DEALLOCATE s"), b"".join(extended("DEALLOCATE s")) + SYNC):
        with live.session("keeper") as s:
            s.ask("DEALLOCATE ALL")
            s.cycles(1, parse("s", HARMLESS), SYNC)
            s.cycles(1, parse("s2", HELD), SYNC)
            s.ask("PREPARE s3 AS SELECT 1")
            s.ask("DEALLOCATE s3")
            s.cycles(
                2, deallocate, parse("s", HELD), bind("", "s"), execute(), SYNC,
            )  # fmt: skip
            assert untouched(live)


def test_a_parse_that_the_server_skipped_leaves_the_unnamed_statement_as_it_was(
    live: Live,
) -> None:
    with live.session("keeper") as s:
        s.cycles(1, parse("", HELD), SYNC)
        s.cycles(
            2, parse("f", "SELECT 1 / (id - id) FROM app.orders"), bind("", "f"), execute(),
            parse("", HARMLESS), SYNC, bind("", ""), execute(), SYNC,
        )  # fmt: skip
        assert untouched(live)


def test_a_parse_that_failed_leaves_a_named_statement_as_it_was(live: Live) -> None:
    with live.session("keeper") as s:
        s.cycles(1, parse("s", HELD), SYNC)
        s.cycles(
            3, close("S", "none"), parse("f", "SELECT 1 / (id - id) FROM app.orders"),
            bind("", "f"), execute(), close("S", "s"), parse("s", HARMLESS), SYNC,
            parse("s", HARMLESS), SYNC, bind("", "s"), execute(), SYNC,
        )  # fmt: skip
        assert untouched(live)


@pytest.mark.parametrize("kind", ["S", "P"])
def test_names_that_the_server_cuts_alike_are_one_name(live: Live, kind: str) -> None:
    one, other = LONG + "one", LONG + "other"
    with live.session("keeper") as s:
        begun(s)
        if kind == "S":
            s.cycles(
                1, parse(one, HARMLESS), close("S", other), parse(other, HELD),
                bind("", one), execute(), SYNC,
            )  # fmt: skip
        else:
            s.cycles(
                1, parse("a", HARMLESS), parse("b", HELD), bind(one, "a"), close("P", other),
                bind(other, "b"), execute(one), SYNC,
            )  # fmt: skip
        s.ask("COMMIT")
        assert untouched(live)


@pytest.mark.parametrize("again", ["COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "COMMIT; BEGIN"])
def test_a_cursor_of_an_ended_transaction_is_not_the_new_one_of_its_name(
    live: Live, again: str
) -> None:
    with live.session("masked") as s:
        begun(s)
        s.ask(f"DECLARE c CURSOR FOR {SHOWN}")
        s.ask(again)
        s.ask(f"DECLARE c CURSOR FOR {MASKED}")
        s.ask("FETCH ALL FROM c")
        assert SECRET not in s.seen


@pytest.mark.parametrize("before", [SHOWN, "SELECT region AS x FROM app.people",
                                    "SELECT region IS NULL AS x FROM app.people"])  # fmt: skip
@pytest.mark.parametrize("after", [MASKED, "SELECT email AS x FROM app.people",
                                   "SELECT region || notes AS x FROM app.people"])  # fmt: skip
def test_a_fetch_prepared_over_another_cursor_is_masked_by_what_the_cursor_is_now(
    live: Live, before: str, after: str
) -> None:
    with live.session("masked") as s:
        begun(s)
        s.ask(f"DECLARE c CURSOR FOR {before}")
        s.cycles(1, parse("f", "FETCH ALL FROM c"), SYNC)
        s.ask("CLOSE c")
        s.ask(f"DECLARE c CURSOR FOR {after}")
        s.cycles(1, bind("", "f"), execute(), SYNC)
        assert SECRET not in s.seen
        assert b"4111" not in s.seen


def test_a_fetch_bound_over_another_cursor_is_masked_by_what_the_cursor_is_now(live: Live) -> None:
    for before, after in (
        (SHOWN, MASKED),
        (
            "SELECT region IS NULL AS x FROM app.people",
            "SELECT region || notes AS x FROM app.people",
        ),
    ):
        with live.session("masked") as s:
            begun(s)
            s.cycles(
                1, *extended(f"DECLARE c CURSOR FOR {before}"), parse("f", "FETCH ALL FROM c"),
                bind("p", "f"), *extended("CLOSE c"), *extended(f"DECLARE c CURSOR FOR {after}"),
                execute("p"), SYNC,
            )  # fmt: skip
            assert SECRET not in s.seen
            assert b"4111" not in s.seen


def test_a_fetch_described_before_there_was_a_cursor_shows_nothing_unmasked(live: Live) -> None:
    with live.session("masked") as s:
        begun(s)
        s.ask(f"DECLARE c CURSOR FOR {SHOWN}")
        s.cycles(2, query("COMMIT"), parse("f", "FETCH ALL FROM c"), SYNC)
        begun(s)
        s.ask(f"DECLARE c CURSOR FOR {MASKED}")
        s.cycles(1, bind("", "f"), execute(), SYNC)
        assert SECRET not in s.seen


def test_an_execute_prepared_over_another_statement_is_masked_by_what_that_is_now(
    live: Live,
) -> None:
    for before, after in (
        (SHOWN, MASKED),
        (
            "SELECT region IS NULL AS x FROM app.people",
            "SELECT region || notes AS x FROM app.people",
        ),
    ):
        with live.session("masked") as s:
            s.ask(f"PREPARE s AS {before}")
            s.cycles(1, parse("f", "EXECUTE s"), SYNC)
            s.ask("DEALLOCATE s")
            s.ask(f"PREPARE s AS {after}")
            s.cycles(1, bind("", "f"), execute(), SYNC)
            assert SECRET not in s.seen
            assert b"4111" not in s.seen


def test_flush_instead_of_sync_gives_no_second_meaning(live: Live) -> None:
    with live.session("keeper") as s:
        begun(s)
        s.cycles(
            1, *extended(HARMLESS, "a", "p"), FLUSH, close("P", "p"), parse("b", HELD),
            bind("p", "b"), FLUSH, execute("p"), SYNC,
        )  # fmt: skip
        assert untouched(live)
