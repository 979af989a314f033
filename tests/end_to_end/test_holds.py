"""Statements that wait for people, inside an open connection."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import errors

from taskgate.demo.gate import GateFault
from tests.end_to_end.conftest import Setting
from tests.patience import PATIENCE_S, eventually

UPDATE = "UPDATE shop.orders SET status = 'cancelled' WHERE id = {}"
STATUS = "SELECT status FROM shop.orders WHERE id = {}"


def waiting(setting: Setting, text: str, who: str = "lead") -> dict[str, Any]:
    """The approval that waits for `text`, as an approver sees it."""

    def look() -> list[dict[str, Any]]:
        listed = setting.gate.own.ask(who, "GET", "/v1/approvals")
        return [one for one in listed if text in one["text"]]

    return dict(eventually(look, f"nothing waits for {text}")[0])


def decide(setting: Setting, who: str, approval: str, word: str, **body: object) -> Any:
    return setting.gate.own.ask(who, "POST", f"/v1/approvals/{approval}/{word}", body)


@pytest.fixture(autouse=True)
def paid(setting: Setting) -> None:
    setting.behind("UPDATE shop.orders SET status = 'paid' WHERE id < 30")


@contextmanager
def running(call: Callable[[], Any]) -> Iterator["Future[Any]"]:
    """Runs `call` beside the test."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)


@pytest.mark.parametrize("prepare", [None, True])
def test_an_approved_statement_runs_in_its_open_connection(
    setting: Setting, prepare: bool | None
) -> None:
    row = 11 if prepare else 12
    notices: list[str] = []
    with setting.connect("fix") as connection:
        connection.add_notice_handler(lambda d: notices.append(d.message_primary or ""))
        statement = UPDATE.format("%s" if prepare else row)
        with running(
            lambda: connection.execute(statement, [row] if prepare else None, prepare=prepare)
        ) as answer:
            asked = waiting(setting, "UPDATE shop.orders")
            assert setting.behind(STATUS.format(row)) != "cancelled"
            if prepare:
                assert asked["parameters"]
            decide(setting, "lead", asked["id"], "approve")
            assert answer.result(PATIENCE_S).rowcount == 1
        assert connection.execute(STATUS.format(row)).fetchone() == ("cancelled",)
    assert any(asked["id"] in notice for notice in notices)


def test_no_byte_of_a_held_statement_reaches_the_resource(setting: Setting) -> None:
    with setting.connect("fix") as connection:
        connection.execute("SELECT 1")
        mark = setting.server.log_size()
        with running(lambda: connection.execute(UPDATE.format(13))) as answer:
            asked = waiting(setting, "id = 13")
            assert "UPDATE" not in setting.server.log_since(mark)
            decide(setting, "lead", asked["id"], "approve")
            answer.result(PATIENCE_S)
        assert "UPDATE" in setting.server.log_since(mark)


def test_a_denied_one_says_who_and_why(setting: Setting) -> None:
    with setting.connect("fix") as connection:
        with running(lambda: connection.execute(UPDATE.format(14))) as answer:
            asked = waiting(setting, "id = 14")
            decide(setting, "lead", asked["id"], "deny", reason="not today")
            with pytest.raises(errors.InsufficientPrivilege, match="not today"):
                answer.result(PATIENCE_S)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert setting.behind(STATUS.format(14)) != "cancelled"


def test_ctrl_c_withdraws_the_question(setting: Setting) -> None:
    with setting.connect("fix") as connection:
        with running(lambda: connection.execute(UPDATE.format(15))) as answer:
            asked = waiting(setting, "id = 15")
            connection.cancel()
            with pytest.raises(errors.QueryCanceled):
                answer.result(PATIENCE_S)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(GateFault, match="cancel"):
        decide(setting, "lead", asked["id"], "approve")
    assert setting.behind(STATUS.format(15)) != "cancelled"


def test_a_client_that_leaves_withdraws_it_too(setting: Setting) -> None:
    connection = setting.connect("fix")
    thread = threading.Thread(target=_swallow, args=(connection, UPDATE.format(16)))
    thread.start()
    asked = waiting(setting, "id = 16")
    # What the client's machine does when the process dies.
    with socket.socket(fileno=os.dup(connection.fileno())) as dying:
        dying.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_S)
    withdrawn(setting, asked["id"])
    assert setting.behind(STATUS.format(16)) != "cancelled"


def test_two_approvals_are_two_people(setting: Setting) -> None:
    with (
        setting.connect_as("analyst", "two-keys") as connection,
        running(lambda: connection.execute(UPDATE.format(17))) as answer,
    ):
        asked = waiting(setting, "id = 17")
        decide(setting, "lead", asked["id"], "approve")
        with pytest.raises(GateFault):
            decide(setting, "lead", asked["id"], "approve")
        assert not answer.done()
        decide(setting, "second", asked["id"], "approve")
        assert answer.result(PATIENCE_S).rowcount == 1


def test_the_requester_never_approves(setting: Setting) -> None:
    with (
        setting.connect_as("lead", "two-keys") as connection,
        running(lambda: connection.execute(UPDATE.format(18))) as answer,
    ):
        asked = waiting(setting, "id = 18", "second")
        with pytest.raises(GateFault, match="requested"):
            decide(setting, "lead", asked["id"], "approve")
        decide(setting, "second", asked["id"], "deny", reason="enough")
        with pytest.raises(errors.InsufficientPrivilege):
            answer.result(PATIENCE_S)


def test_a_view_swapped_under_a_hold_is_not_what_was_approved(setting: Setting) -> None:
    admin = "CREATE OR REPLACE VIEW shop.to_fix AS SELECT id, status FROM shop.orders WHERE {}"
    setting.behind(admin.format("id < 100"))
    setting.behind("GRANT SELECT ON shop.to_fix TO public")
    with (
        setting.connect("fix-view") as connection,
        running(
            lambda: connection.execute("UPDATE shop.to_fix SET status = 'cancelled' WHERE id = 19")
        ) as answer,
    ):
        asked = waiting(setting, "id = 19")
        setting.behind(admin.format("id < 100000"))
        decide(setting, "lead", asked["id"], "approve")
        with pytest.raises(errors.InsufficientPrivilege, match="changed"):
            answer.result(PATIENCE_S)
    assert setting.behind(STATUS.format(19)) != "cancelled"


def test_a_shape_approved_for_a_while_is_not_asked_again(setting: Setting) -> None:
    with setting.connect("fix") as connection:
        with running(lambda: connection.execute(UPDATE.format(21))) as answer:
            asked = waiting(setting, "id = 21")
            decide(
                setting, "lead", asked["id"], "approve",
                scope="shape", minutes=5, uses=2,
            )  # fmt: skip
            answer.result(PATIENCE_S)
        for row in (22, 23):
            assert connection.execute(UPDATE.format(row)).rowcount == 1
        with running(lambda: connection.execute(UPDATE.format(24))) as answer:
            asked = waiting(setting, "id = 24")
            decide(setting, "lead", asked["id"], "deny", reason="used up")
            with pytest.raises(errors.InsufficientPrivilege):
                answer.result(PATIENCE_S)
    assert setting.behind(STATUS.format(24)) != "cancelled"


def test_a_hold_expires(setting: Setting) -> None:
    with (
        setting.connect("fix-soon") as connection,
        pytest.raises(errors.InsufficientPrivilege, match="in time"),
    ):
        connection.execute(UPDATE.format(25))
    assert setting.behind(STATUS.format(25)) != "cancelled"


def test_revoking_the_grant_ends_the_hold(setting: Setting) -> None:
    token, grant = setting.grant_of("fix")
    with setting.connect("fix", token) as connection:
        with running(lambda: connection.execute(UPDATE.format(26))) as answer:
            asked = waiting(setting, "id = 26")
            setting.gate.own.ask("operator", "DELETE", f"/v1/grants/{grant}")
            with pytest.raises(psycopg.Error, match=r"revoked|ended|over"):
                answer.result(PATIENCE_S)
        withdrawn(setting, asked["id"])
        assert connection.closed
    assert setting.behind(STATUS.format(26)) != "cancelled"


def withdrawn(setting: Setting, approval: str) -> None:
    """That an approval comes off the list of what waits."""

    def look() -> bool:
        listed = setting.gate.own.ask("lead", "GET", "/v1/approvals")
        return all(one["id"] != approval for one in listed)

    eventually(look, "it is still asked")


def _swallow(connection: "psycopg.Connection[tuple[object, ...]]", statement: str) -> None:
    with pytest.raises(psycopg.Error):
        connection.execute(statement)
