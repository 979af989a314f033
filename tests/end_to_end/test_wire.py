"""Details of the protocol that drivers rely on."""

import psycopg
import pytest
from psycopg import errors

from taskgate.protocols.postgres import messages
from tests.end_to_end.conftest import Setting
from tests.end_to_end.wire import Wire
from tests.patience import PATIENCE_S, eventually


def test_a_look_up_leaves_the_unnamed_statement_alone(setting: Setting) -> None:
    with Wire(setting, "everything") as wire:
        wire.query("SET search_path = shop")
        wire.send(messages.encode_parse(messages.Parse("", "SELECT 41 + 1")) + messages.SYNC)
        assert wire.until_ready() == ["1", "Z"]
        # A name not seen before: it is looked up on this connection.
        other = messages.Parse("other", "SELECT count(*) FROM order_items")
        wire.send(messages.encode_parse(other) + messages.SYNC)
        assert wire.until_ready() == ["1", "Z"]
        wire.send(
            messages.encode_bind(messages.Bind("", ""))
            + messages.encode_execute("")
            + messages.SYNC
        )
        assert wire.until_ready() == ["2", "D", "C", "Z"], wire.errors


def test_a_notification_comes_from_the_process_that_the_client_knows(setting: Setting) -> None:
    with setting.connect("everything") as connection:
        connection.execute("LISTEN here")
        connection.execute("NOTIFY here, 'me'")
        (heard,) = connection.notifies(timeout=PATIENCE_S, stop_after=1)
        assert heard.pid == connection.info.backend_pid


def test_the_process_that_the_client_knows_is_the_resources(setting: Setting) -> None:
    with setting.connect("everything") as connection, setting.connect("everything") as other:
        own = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert own == (connection.info.backend_pid,)
        other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        with pytest.raises(errors.AdminShutdown, match="administrator command"):
            _until_it_fails(connection)


def test_why_the_resource_ends_a_session_reaches_the_client(setting: Setting) -> None:
    with setting.connect("everything") as connection:
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        with setting.server.connect(setting.database) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(errors.AdminShutdown, match="administrator command"):
            _until_it_fails(connection)


def _until_it_fails(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    eventually(lambda: connection.execute("SELECT 1") is None, "it goes on")


def test_the_resources_log_goes_on_showing_who_it_is(setting: Setting) -> None:
    shown = "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE '%renamed%'"
    with setting.connect("everything") as connection:
        connection.execute("SET application_name = 'renamed'")
        connection.execute("SELECT 1")
        assert setting.behind(shown) == "taskgate operator/everything renamed"


@pytest.mark.parametrize("minor", [0, 2])
def test_a_cancel_key_is_as_long_as_the_protocol_allows(setting: Setting, minor: int) -> None:
    with Wire(setting, "everything", minor=minor) as wire:
        assert len(wire.key) == 4 + (4 if minor == 0 else 32)
