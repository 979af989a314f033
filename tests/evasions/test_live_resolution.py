"""Names that come to mean something else between the verdict and the run.

Each case is the verdict that a user gets, shown against a real server. Append only.
"""

import pytest

from tests.evasions.live import (
    SECRET,
    SYNC,
    Live,
    bind,
    execute,
    extended,
    parse,
    query,
)

ORDERS = "SELECT note FROM orders"


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "END", "ABORT", "COMMIT AND CHAIN",
                                 "ROLLBACK AND CHAIN", "ROLLBACK TO x"])  # fmt: skip
@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize("simple", [False, True])
def test_a_path_set_for_one_transaction_counts_no_longer_after_it(
    live: Live, end: str, piped: bool, simple: bool
) -> None:
    with live.session("narrow") as s:
        s.ask("SET search_path = hidden")
        s.ask("BEGIN")
        s.ask("SAVEPOINT x")
        s.ask("SET LOCAL search_path = app")
        assert "D" in s.ask(ORDERS)
        assert "D" in s.run(ORDERS)
        ending = query(end) if simple else b"".join(extended(end)) + SYNC
        after = b"".join(extended(ORDERS)) + SYNC
        if piped:
            s.cycles(2, ending, after)
        else:
            s.cycles(1, ending)
            s.cycles(1, after)
        s.ask(ORDERS)
        assert SECRET not in s.seen
        assert "42501" in s.states


def test_a_path_set_for_one_transaction_counts_no_longer_after_a_second_begins(
    live: Live,
) -> None:
    with live.session("narrow") as s:
        s.ask("SET search_path = hidden")
        s.ask("BEGIN")
        s.ask("SET LOCAL search_path = app")
        assert "D" in s.ask(ORDERS)
        s.ask("COMMIT; BEGIN")
        s.ask(ORDERS)
        assert SECRET not in s.seen
        assert "42501" in s.states


@pytest.mark.parametrize("how", ["SET LOCAL search_path = app", "SET search_path = app",
                                 "SELECT set_config('search_path', 'app', true)"])  # fmt: skip
@pytest.mark.parametrize("fails", [False, True])
def test_a_path_set_in_a_pipeline_counts_no_longer_after_its_sync(
    live: Live, how: str, fails: bool
) -> None:
    if how.startswith("SET search") and not fails:
        pytest.skip("it then stays")
    with live.session("narrow") as s:
        s.ask("SET search_path = hidden")
        s.run("SELECT 1 / 0 + (SELECT count(*) FROM app.orders)")
        failing = extended("SELECT 1 / 0 + (SELECT count(*) FROM app.orders)") if fails else ()
        s.cycles(2, *extended(how), *extended(ORDERS), *failing, SYNC, *extended(ORDERS), SYNC)
        s.cycles(1, *extended(ORDERS), SYNC)
        assert SECRET not in s.seen
        assert "42501" in s.states


def test_a_setting_is_judged_by_its_own_name_not_by_one_that_reads_alike(live: Live) -> None:
    with live.session("narrow") as s:
        s.ask("SET search_path = app")
        for _ in range(3):
            assert "D" in s.ask(ORDERS)
        s.ask("SELECT set_config('application_name', 'app', false)")
        s.ask("SELECT set_config('search_path', 'hidden', false)")
        s.ask(ORDERS)
        assert SECRET not in s.seen
        s.ask("SELECT set_config('application_name', 'app', false)")
        s.ask("SELECT set_config('role', 'pg_read_all_data', false)")
        assert b"pg_read_all_data" not in s.rows()[-1]
        s.ask("SELECT current_setting('server_version')")
        s.ask("SELECT current_setting('data_directory')")
        assert s.states[-2:] == ["42501", "42501"]
        s.run("SELECT current_setting('server_version')")
        s.run("SELECT current_setting('config_file')")
        assert s.states[-3:] == ["42501", "42501", "42501"]


def test_an_order_by_position_is_judged_by_its_own_position(live: Live) -> None:
    with live.session("masked") as s:
        assert "D" in s.ask("SELECT region, email FROM app.people ORDER BY 1")
        s.ask("SELECT region, email FROM app.people ORDER BY 2")
        assert s.states == ["42501"]
        assert "D" in s.ask("SELECT region, email, count(*) OVER () FROM app.people ORDER BY 1, 3")
        s.ask("SELECT region, email, count(*) OVER () FROM app.people ORDER BY 1, 2")
        assert s.states == ["42501", "42501"]


SHADOW = "CREATE {kind} TABLE {schema}people (id int, email text, region text, notes text)"


@pytest.mark.parametrize("temporary", [False, True])
@pytest.mark.parametrize("by_sql", [False, True])
def test_a_statement_prepared_before_its_table_was_shadowed_is_masked_all_the_same(
    live: Live, temporary: bool, by_sql: bool
) -> None:
    """PostgreSQL goes on with the plan it has: a new table earlier in the path does not end it."""
    text = "SELECT email || '' AS x FROM people"
    with live.session("maker") as s:
        s.ask("SET search_path = lab, app")
        if by_sql:
            s.ask(f"PREPARE s AS {text}")
        else:
            s.cycles(1, parse("s", text), SYNC)
        kind, schema = ("TEMP", "") if temporary else ("", "lab.")
        s.ask(SHADOW.format(kind=kind, schema=schema))
        assert not s.errors
        try:
            for _ in range(2):
                s.cycles(1, bind("", "s"), execute(), SYNC)
                s.ask("EXECUTE s")
            assert SECRET not in s.seen
        finally:
            s.ask(f"DROP TABLE {schema}people")


@pytest.mark.parametrize("by_sql", [False, True])
def test_a_held_statement_prepared_before_its_table_was_shadowed_is_still_held(
    live: Live, by_sql: bool
) -> None:
    text = "SELECT pay FROM payroll"
    with live.session("maker") as s:
        s.ask("SET search_path = lab, app")
        if by_sql:
            with live.approving():
                s.send(query(f"PREPARE s AS {text}"))
                while "Z" not in s.until_ready():
                    pass
        else:
            s.cycles(1, parse("s", text), SYNC)
        s.ask("CREATE TABLE lab.payroll (id int, pay text)")
        try:
            for _ in range(2):
                if s.cycles(1, bind("", "s"), execute(), SYNC).endswith("held"):
                    break
                if s.ask("EXECUTE s").endswith("held"):
                    break
            assert SECRET not in s.seen
        finally:
            live.behind("DROP TABLE lab.payroll")


def test_a_portal_bound_before_the_path_changed_is_masked_by_what_it_was_bound_to(
    live: Live,
) -> None:
    """The twin's columns look alike; a second Bind describes them, and the first portal runs."""
    with live.session("maker") as s:
        s.ask("CREATE TABLE lab.people (id int, email text, region text, notes text)")
        try:
            s.ask("SET search_path = app")
            s.ask("SELECT email FROM lab.people")
            s.ask("BEGIN")
            s.cycles(1, parse("s", "SELECT email FROM people"), bind("p", "s"), SYNC)
            s.ask("SET search_path = lab")
            s.cycles(1, bind("q", "s"), execute("q"), SYNC)
            s.cycles(1, execute("p"), SYNC)
            assert SECRET not in s.seen
            s.ask("ROLLBACK")
        finally:
            s.ask("DROP TABLE lab.people")


def test_startup_options_name_the_path_that_counts(live: Live) -> None:
    with live.connect("narrow") as connection:
        connection.execute("SET search_path = app")
        assert len(connection.execute(ORDERS).fetchall()) == 6
        connection.execute("RESET ALL")
        with pytest.raises(Exception, match="orders"):
            connection.execute(ORDERS)
