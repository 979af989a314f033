"""The resource is gone, refuses, or talks nonsense."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from taskgate.demo.cluster import free_port
from tests.end_to_end.conftest import TASKS
from tests.faults.faulty import Faulty, faulty_gate
from tests.faults.relay import OK, READY, Relay, Serve, exactly, greet, serving
from tests.patience import eventually
from tests.servers import PASSWORD, Server

_PAIR = """
kind: Resource
name: {name}
protocol: postgres
address: 127.0.0.1:{port}
tls: disable
credential: {{username: {user}, password: {{env: {password}}}}}
database: {database}
---
kind: Task
name: {name}
resource: {name}
for: {{groups: [testers]}}
permit:
  - any: ["*"]
"""
_CROWDED = "tg_crowded"


@dataclass(frozen=True, slots=True)
class Around:
    """The gateway, and what stands between it and the server for task `relayed`."""

    faulty: Faulty
    relay: Relay


def _mumbles_at_sign_in(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _hangs_up(connection: socket.socket) -> None:
    connection.recv(4096)


def _says_nothing(connection: socket.socket) -> None:
    """Takes the connection, and has nothing to say for longer than anybody waits."""
    with contextlib.suppress(OSError):
        while connection.recv(4096):
            pass


def _never_ends(connection: socket.socket) -> None:
    """Signs in, and goes on with parameters for ever."""
    connection.recv(4096)
    connection.sendall(OK)
    body = b"a\0" + b"b" * 8000 + b"\0"
    while True:
        connection.sendall(b"S" + struct.pack("!i", len(body) + 4) + body)


def _says(answer: bytes) -> Serve:
    """A server that lets the gate in, and answers its first question with nonsense."""

    def talk(connection: socket.socket) -> None:
        greet(connection)
        exactly(connection, 5)
        connection.recv(1 << 16)
        connection.sendall(answer)
        with contextlib.suppress(OSError):
            while connection.recv(1 << 16):
                pass

    return talk


NONSENSE = {
    "unknown": b"\x01\x00\x00\x00\x04",
    "short": b"T\x00\x00\x00\x01",
    "huge": b"E\x7f\xff\xff\xff" + b"x" * 100,
    "unasked": b"G\x00\x00\x00\x07\x00\x00\x00" + READY,
    "auth": OK + READY,
    "noise": bytes(range(1, 255)) * 40,
}
# What fits as far as messages go, and makes no sense as a catalog's answer.
_NO_CATALOG = (
    b"3\x00\x00\x00\x04"
    + b"1\x00\x00\x00\x04"
    + b"2\x00\x00\x00\x04"
    + b"D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x01x"
    + b"C\x00\x00\x00\x0dSELECT 1\x00"
    + b"3\x00\x00\x00\x04" * 2
    + READY
)
SIGN_INS = {
    "mumbles": _mumbles_at_sign_in,
    "hangs-up": _hangs_up,
    "never-ends": _never_ends,
    "silent": _says_nothing,
}


@pytest.fixture(scope="module")
def around(server: Server, shop_database: str) -> Iterator[Around]:
    relay = Relay(server.port)
    server.run(f"DROP ROLE IF EXISTS {_CROWDED}")
    server.run(f"CREATE ROLE {_CROWDED} LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 0")
    with contextlib.ExitStack() as stack:
        ports = {"gone": free_port(), "relayed": stack.enter_context(serving(relay))}
        ports |= {name: stack.enter_context(serving(make)) for name, make in SIGN_INS.items()}
        for name, answer in NONSENSE.items():
            ports[name] = stack.enter_context(serving(_says(answer)))
        ports["no-catalog"] = stack.enter_context(serving(_says(_NO_CATALOG)))
        ports |= {"wrong": server.port, "crowded": server.port}
        users = {"wrong": "tg_scram", "crowded": _CROWDED}
        files = {
            f"{name}.yaml": _PAIR.format(
                name=name,
                port=port,
                user=users.get(name, "tg_super"),
                password="WRONG_PASSWORD" if name == "wrong" else "TARGET_PASSWORD",
                database=shop_database,
            )
            for name, port in ports.items()
        }
        gate = faulty_gate(
            server,
            shop_database,
            TASKS,
            files=files,
            limits={"UPSTREAM_CONNECT_TIMEOUT_S": 6.0, "MAX_LOGINS_PER_NAME_PER_MIN": 100},
        )
        yield Around(stack.enter_context(gate), relay)


REFUSALS = {
    "gone": "refuses connections",
    "wrong": "refuses the gateway's own sign-in",
    "crowded": "too many connections|refus",
    "mumbles": "answer|message|unexpected|no PostgreSQL|speak",
    "hangs-up": "closed the connection",
    "never-ends": "too much|more than",
    "silent": "did not answer within 6 s",
}


@pytest.mark.cap("UPSTREAM_CONNECT_TIMEOUT_S")
@pytest.mark.parametrize("name", REFUSALS)
def test_a_resource_that_cannot_be_reached_is_told_and_kept(around: Around, name: str) -> None:
    faulty = around.faulty
    with pytest.raises(psycopg.OperationalError, match=REFUSALS[name]) as caught:
        faulty.connect(name).close()
    told = str(caught.value)
    assert f"resource {name}" in told
    assert "FATAL" in told
    for secret in (PASSWORD, "not-this-one"):
        assert secret not in told
    event = faulty.recorded("session.closed", f"resource {name}")
    assert event.facts["requests"] == 0
    faulty.well()


@pytest.mark.parametrize("name", NONSENSE)
def test_a_resource_that_talks_nonsense_is_let_go(around: Around, name: str) -> None:
    faulty = around.faulty
    with faulty.connect(name) as connection:
        with pytest.raises(psycopg.OperationalError, match="resource"):
            connection.execute("SELECT id FROM shop.orders")
        assert connection.closed
    eventually(
        lambda: any(
            e.facts.get("reason")
            and "resource" in str(e.facts["reason"])
            and e.kind == "session.closed"
            for e in faulty.events("session.closed")
        ),
        "it was not recorded",
    )
    faulty.well()


def test_names_that_a_resource_explains_badly_are_not_believed(around: Around) -> None:
    with (
        around.faulty.connect("no-catalog") as connection,
        pytest.raises(psycopg.OperationalError, match="catalog answered what cannot be read"),
    ):
        connection.execute("SELECT id FROM shop.orders")
    around.faulty.recorded("request.denied", "catalog answered")


def test_a_resource_lost_in_the_middle_of_a_result(around: Around) -> None:
    faulty = around.faulty
    text = "SELECT repeat('y', 1000) FROM generate_series(1, 1000000)"
    with faulty.connect("relayed") as connection:
        rows = connection.cursor().stream(text)
        assert next(rows)
        around.relay.cut()
        with pytest.raises(psycopg.OperationalError):
            for _ in rows:
                pass
        assert connection.closed
    faulty.recorded("request.permitted", "repeat('y'")
    finished = faulty.recorded("request.finished", "08006", "the resource closed the connection")
    assert finished.facts["rows"] > 0
    assert finished.facts["rows"] < 1_000_000
    faulty.recorded("upstream.lost", "the resource closed the connection")
    faulty.well()
    with faulty.connect("relayed") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_resource_lost_between_statements(around: Around) -> None:
    faulty = around.faulty
    with faulty.connect("relayed") as connection:
        connection.execute("SELECT 1")
        around.relay.cut()
        with pytest.raises(psycopg.OperationalError, match="the resource closed the connection"):
            connection.execute("SELECT 2")
        assert connection.closed


def test_a_backend_that_is_terminated_says_so_itself(around: Around) -> None:
    faulty = around.faulty
    with faulty.connect("everything") as connection:
        pid = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert pid is not None
        faulty.server.run(f"SELECT pg_terminate_backend({pid[0]})")
        time.sleep(0.2)
        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            connection.execute("SELECT 2")
    faulty.recorded("upstream.lost")


def test_nothing_of_a_failed_sign_in_is_in_the_log(around: Around) -> None:
    with pytest.raises(psycopg.OperationalError):
        around.faulty.connect("wrong").close()
    line = around.faulty.logged("resource.refused_sign_in", "28P01")
    assert "not-this-one" not in line
