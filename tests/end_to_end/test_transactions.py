"""A refusal leaves the transaction, and the pipeline, as PostgreSQL itself would."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest
from psycopg import errors
from psycopg.pq import TransactionStatus

from taskgate.model.limits import RESOLUTION_TTL_S
from tests.end_to_end.conftest import Setting
from tests.patience import PATIENCE_S, eventually

DENIED = "DELETE FROM shop.orders WHERE id = 1"
INSERT = "INSERT INTO shop.audit_log (at, actor, action, detail) VALUES (now(), 'a', 'b', '{}')"


def test_outside_a_transaction_nothing_of_a_refusal_reaches_the_resource(setting: Setting) -> None:
    with setting.connect("report") as connection:
        connection.execute("SELECT 1")
        mark = setting.server.log_size()
        with pytest.raises(errors.InsufficientPrivilege, match=r"shop\.orders"):
            connection.execute(DENIED)
        assert connection.execute("SELECT 2").fetchone() == (2,)
        assert "DELETE" not in setting.server.log_since(mark)


@pytest.mark.parametrize("prepare", [False, True])
def test_in_a_transaction_a_refusal_aborts_it(setting: Setting, prepare: bool) -> None:
    with setting.connect("report") as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT 1")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(DENIED + (" AND status = %s" if prepare else ""),
                               ["x"] if prepare else None, prepare=prepare)  # fmt: skip
        assert connection.info.transaction_status is TransactionStatus.INERROR
        with pytest.raises(errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT 3").fetchone() == (3,)


def test_what_a_refused_transaction_wrote_is_rolled_back(setting: Setting) -> None:
    before = setting.behind("SELECT count(*) FROM shop.audit_log")
    with setting.connect("writer") as connection:
        connection.execute("BEGIN")
        connection.execute(INSERT)
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(DENIED)
        assert connection.execute("COMMIT").statusmessage == "ROLLBACK"
    assert setting.behind("SELECT count(*) FROM shop.audit_log") == before


def test_a_savepoint_survives_a_refusal(setting: Setting) -> None:
    with setting.connect("report") as connection, connection.transaction():
        with pytest.raises(errors.InsufficientPrivilege), connection.transaction():
            connection.execute(DENIED)
        assert connection.execute("SELECT 4").fetchone() == (4,)


def test_a_refusal_in_a_pipeline_rolls_back_what_went_before_it(setting: Setting) -> None:
    before = setting.behind("SELECT count(*) FROM shop.audit_log")
    with setting.connect("writer") as connection:
        with connection.pipeline() as pipeline:
            connection.execute(INSERT)
            connection.execute(DENIED)
            after = connection.execute("SELECT 5")
            with pytest.raises(errors.InsufficientPrivilege):
                pipeline.sync()
        with pytest.raises(psycopg.Error):
            after.fetchone()
        assert connection.execute("SELECT 6").fetchone() == (6,)
    assert setting.behind("SELECT count(*) FROM shop.audit_log") == before


def test_a_multi_statement_message_is_judged_whole(setting: Setting) -> None:
    before = setting.behind("SELECT count(*) FROM shop.audit_log")
    with setting.connect("writer") as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(f"{INSERT}; {DENIED}".encode())
    assert setting.behind("SELECT count(*) FROM shop.audit_log") == before


def test_an_error_of_the_servers_own_comes_through_whole(setting: Setting) -> None:
    with setting.connect("everything") as connection:
        with pytest.raises(errors.UndefinedColumn) as caught:
            connection.execute("SELECT nosuch FROM shop.orders")
        assert caught.value.diag.statement_position == "8"
        with pytest.raises(errors.SyntaxError):
            connection.execute("SELEC 1")


def test_a_statement_prepared_before_a_change_of_path_is_judged_anew(setting: Setting) -> None:
    """The text stays; what it names does not."""
    with setting.connect("everything") as admin:
        admin.execute("CREATE SCHEMA IF NOT EXISTS shadow")
        admin.execute("CREATE TABLE IF NOT EXISTS shadow.orders (id int)")
        admin.execute("GRANT USAGE ON SCHEMA shadow TO public")
    with setting.connect("report") as connection:
        connection.execute("SET search_path = shop")
        for _ in range(7):
            connection.execute("SELECT id FROM orders LIMIT %s", [1], prepare=True)
        connection.execute("SET search_path = shadow")
        with pytest.raises(errors.InsufficientPrivilege, match=r"shadow\.orders"):
            connection.execute("SELECT id FROM orders LIMIT %s", [1], prepare=True)


def test_a_temporary_table_does_not_pass_for_the_real_one(setting: Setting) -> None:
    with setting.connect("report") as connection:
        connection.execute("SET search_path = shop")
        assert connection.execute("SELECT count(*) FROM orders").fetchone() is not None
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("CREATE TEMP TABLE orders (id int)")


def test_limits_stop_a_large_answer_and_leave_the_session_usable(setting: Setting) -> None:
    with setting.connect("sized") as connection:
        assert len(connection.execute("SELECT id FROM shop.orders LIMIT 50").fetchall()) == 50
        with pytest.raises(errors.ProgramLimitExceeded, match="limit of 50"):
            connection.execute("SELECT id FROM shop.orders LIMIT 51")
        with pytest.raises(errors.ProgramLimitExceeded, match="larger"):
            connection.execute("SELECT repeat('x', 200000)")
        assert connection.execute("SELECT 7").fetchone() == (7,)


def test_a_limit_of_time_stops_a_statement_and_leaves_the_session_usable(setting: Setting) -> None:
    def used() -> bool:
        # A busy machine may need the two seconds for this one as well.
        with suppress(errors.QueryCanceled):
            return connection.execute("SELECT 7").fetchone() == (7,)
        return False

    with setting.connect("limited") as connection:
        with pytest.raises(errors.QueryCanceled, match="longer than"):
            connection.execute("SELECT pg_sleep(60)")
        eventually(used)


def test_a_limit_reached_in_a_transaction_fails_it(setting: Setting) -> None:
    with setting.connect("sized") as connection:
        connection.execute("BEGIN")
        with pytest.raises(errors.ProgramLimitExceeded):
            connection.execute("SELECT id FROM shop.orders LIMIT 60")
        assert connection.info.transaction_status is TransactionStatus.INERROR
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT 8").fetchone() == (8,)


def test_a_cancel_key_of_someone_else_cancels_nothing(setting: Setting) -> None:
    with setting.connect("everything") as one, setting.connect("everything") as other:
        other.cancel()
        assert one.execute("SELECT pg_sleep(0.3), 1").fetchone()[1] == 1  # type: ignore[index]


@pytest.mark.parametrize("within", ["nothing", "a transaction"])
def test_a_cancel_that_comes_while_names_are_looked_up_is_a_cancel_like_any_other(
    setting: Setting, within: str
) -> None:
    """The gate's own question to the resource is what is cancelled; the session goes on."""
    setting.behind("CREATE TABLE IF NOT EXISTS shop.seldom AS SELECT 1 AS a")
    blocked = (
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE NOT granted AND application_name LIKE 'taskgate %'"
    )
    select = "SELECT a FROM shop.seldom"
    with (
        setting.connect("everything") as connection,
        setting.server.connect(setting.database) as admin,
        ThreadPoolExecutor(1) as pool,
    ):
        if within == "a transaction":
            connection.execute("BEGIN")
        # No name is believed longer than this.
        time.sleep(RESOLUTION_TTL_S)
        with admin.transaction():
            admin.execute("LOCK TABLE pg_catalog.pg_inherits IN ACCESS EXCLUSIVE MODE")
            answer = pool.submit(connection.execute, select)
            eventually(lambda: setting.behind(blocked) != "0")
            connection.cancel()
            with pytest.raises(errors.QueryCanceled, match="canceling statement"):
                answer.result(PATIENCE_S)
        if within == "a transaction":
            assert connection.info.transaction_status is TransactionStatus.INERROR
            connection.execute("ROLLBACK")
        for _ in range(2):
            assert connection.execute(select).fetchone() == (1,)
            time.sleep(0.1)


def test_a_function_call_message_is_refused(setting: Setting) -> None:
    """libpq's PQfn, for instance by way of its large-object calls."""
    from tests.end_to_end.wire import Wire

    with Wire(setting, "everything") as wire:
        wire.send(b"F" + (4 + 4 + 2 + 2 + 2).to_bytes(4, "big") + bytes(4 + 2 + 2 + 2))
        kinds = wire.until_ready()
        assert kinds == ["E", "Z"]
        assert wire.query("SELECT 1") == ["T", "D", "C", "Z"]
