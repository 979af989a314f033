"""Ways round the API by the request itself: paths, headers, bodies, methods."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from tests.api.gate import Gate, start_gate
from tests.patience import PATIENCE_S


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    running = asyncio.run(start_gate(tmp_path_factory.mktemp("gate")))
    yield running
    running.stop()


def raw(gate: Gate, request: bytes) -> bytes:
    """Bytes as they are, over TLS; everything that comes back."""
    context = ssl.create_default_context(cafile=str(gate.ca))
    port = int(gate.url.rpartition(":")[2])
    with (
        socket.create_connection(("localhost", port), timeout=PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        found = b""
        try:
            # The gateway may close before it has been sent all of it.
            connection.sendall(request)
            while chunk := connection.recv(65536):
                found += chunk
        except (ssl.SSLError, ConnectionError):
            pass
        return found


def statuses(answer: bytes) -> list[int]:
    """The status of each response in a stream of them."""
    return [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


@pytest.mark.parametrize(
    "path",
    [
        "//v1/users", "/v1//users", "/./v1/users", "/v1/./users", "/x/../v1/users",
        "/v1/grants/../users", "/%2e%2e/v1/users", "/v1/%2e/users", "/v1/grants/%2e%2e/users",
        "/v1%2fusers", "/v1/grants%2f..%2fusers", "/v1\\users", "/v1/users;x=1", "/v1/users%00",
        "/v1/users%0d%0aX:1", "/V1/users", "/v1/USERS", "/v1/users/", "/v1/users%20", "/v1/users.",
        "/v1/%75sers%2f", "/v1/users%252f", "/console/../v1/users", "/v1/users%23",
    ],
)  # fmt: skip
def test_an_odd_path_reaches_nothing(gate: Gate, path: str) -> None:
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {gate.token('adm')}\r\nConnection: close\r\n\r\n"
    )
    answer = raw(gate, request.encode())
    assert statuses(answer) in ([404], [400], [])
    assert b"local:ann" not in answer
    assert b'"name"' not in answer


def test_an_absolute_target_is_judged_by_its_path_alone(gate: Gate) -> None:
    request = (
        "GET https://elsewhere.example/v1/users HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {gate.token('ann')}\r\nConnection: close\r\n\r\n"
    )
    assert statuses(raw(gate, request.encode()))[0] in (400, 403, 404)


@pytest.mark.parametrize(
    "header",
    [
        "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE", "X-HTTP-Method: DELETE",
        "X-Original-URL: /v1/users", "X-Rewrite-URL: /v1/users", "X-Forwarded-Prefix: /v1",
        "X-Forwarded-User: adm", "X-Remote-User: adm", "Remote-User: adm", "X-Subject: local:adm",
    ],
)  # fmt: skip
def test_a_header_changes_neither_who_nor_what(gate: Gate, header: str) -> None:
    name, _, value = header.partition(": ")
    with gate.client("ann") as client:
        answer = client.get("/v1/me", headers={name: value})
        assert (answer.status_code, answer.json()["key"]) == (200, "local:ann")
        assert client.get("/v1/users", headers={name: value}).status_code == 403


@pytest.mark.parametrize("name", ["Authorization", "Host", "Content-Length", "Content-Type"])
def test_a_header_given_twice_is_refused(gate: Gate, name: str) -> None:
    values = {
        "Authorization": (f"Bearer {gate.token('ann')}", f"Bearer {gate.token('adm')}"),
        "Host": ("localhost", "elsewhere.example"),
        "Content-Length": ("2", "3"),
        "Content-Type": ("application/json", "text/plain"),
    }[name]
    headers = {"Authorization": f"Bearer {gate.token('ann')}", "Host": "localhost"}
    headers.pop(name, None)
    lines = [f"{key}: {value}" for key, value in headers.items()]
    lines += [f"{name}: {value}" for value in values]
    request = "GET /v1/me HTTP/1.1\r\n" + "\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n"
    found = statuses(raw(gate, request.encode()))
    assert found in ([400], [])


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding : chunked",
        "Content-Length: +4",
        "Content-Length: 0x4",
        "Content-Length: -1",
        "Content-Length: 4, 5",
        "Content-Length: \u0664",
    ],
)
def test_a_second_request_cannot_be_smuggled_behind_the_first(gate: Gate, framing: str) -> None:
    inner = "GET /v1/users HTTP/1.1\r\nHost: localhost\r\nX: "
    request = (
        "POST /v1/logout HTTP/1.1\r\nHost: localhost\r\n" + framing + "\r\n\r\n0\r\n\r\n" + inner
    )
    found = raw(gate, request.encode())
    assert 200 not in statuses(found)
    assert len(statuses(found)) <= 1


def test_a_header_without_end_or_too_many_of_them_are_refused(gate: Gate) -> None:
    begun = b"GET /v1/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    huge = begun + b"X: " + b"a" * 200_000 + b"\r\n\r\n"
    many = begun + b"X-A: b\r\n" * 20_000 + b"\r\n"
    for request in (huge, many):
        assert statuses(raw(gate, request)) in ([400], [401], [413], [431], [])
    assert gate.call("ann", "GET", "/v1/me").status_code == 200


def test_a_body_over_the_cap_is_refused_in_either_framing(gate: Gate) -> None:
    big = b"x" * (2 * 1024 * 1024 + 1)
    with gate.client("ann") as client:
        assert client.post("/v1/grants", content=big).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 65536

    # The gateway may close before the client has sent all of it.
    with gate.client("ann") as client, suppress(httpx.TransportError):
        assert client.post("/v1/grants", content=pieces()).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"task": 1}', b"[" * 100_000,
        b'{"task": "sales-report", "reason": "x", "task": "lead-work", "as": "adm"}',
        b'{"task": "sales-report", "reason": "x", "identity": "local:adm"}',
        b'{"task": "sales-report", "reason": "x", "lasts_s": 1e400}',
        b'{"task": "sales-report", "reason": "x", "lasts_s": NaN}',
        b'{"task": "sales-report", "reason": "x", "lasts_s": -1}',
        b'{"task": "sales-report", "reason": "\\ud800"}',
        b'{"task": "sales-report", "reason": "x\\u001b[2J"}',
        b'{"task": {"$ne": null}, "reason": "x"}',
    ],
)  # fmt: skip
def test_a_body_that_is_not_as_it_should_be_is_refused(gate: Gate, body: bytes) -> None:
    with gate.client("ann") as client:
        answer = client.post(
            "/v1/grants", content=body, headers={"Content-Type": "application/json"}
        )
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text
    assert "pydantic" not in answer.text.lower()


def test_what_was_sent_is_not_sent_back(gate: Gate) -> None:
    secret = "hunter2-hunter2"
    body = {"name": "ann", "password": {"nested": secret}}
    answer = gate.call(None, "POST", "/v1/login", body)
    assert answer.status_code == 422
    assert secret not in answer.text
    assert secret not in gate.log


def test_a_grant_cannot_be_asked_for_longer_or_more_than_the_task_gives(gate: Gate) -> None:
    def asked(**more: object) -> int:
        body = {"task": "sales-report", "reason": "x", **more}
        return gate.call("ann", "POST", "/v1/grants", body).status_code

    assert asked(lasts_s=4 * 3600) == 201
    assert asked(lasts_s=4 * 3600 + 1) == 403
    assert asked(resource="shop-eu") == 403
    assert asked(resource="shop") == 201
    assert asked(task="lead-work") == 403
    assert asked(task="no-such-task") == 403


def test_a_task_that_is_not_yours_looks_like_one_that_is_not_there(gate: Gate) -> None:
    there = gate.call("ann", "POST", "/v1/grants", {"task": "lead-work", "reason": "x"})
    absent = gate.call("ann", "POST", "/v1/grants", {"task": "lead-play", "reason": "x"})
    assert there.text.replace("lead-work", "T") == absent.text.replace("lead-play", "T")
    there = gate.call("ann", "POST", "/v1/policy/explain", {"task": "lead-work", "text": "SELECT"})
    absent = gate.call("ann", "POST", "/v1/policy/explain", {"task": "lead-play", "text": "SELECT"})
    assert there.text.replace("lead-work", "T") == absent.text.replace("lead-play", "T")


def test_somebody_elses_grant_looks_like_one_that_is_not_there(gate: Gate) -> None:
    grant = gate.grant("ann")
    ghost = "g-0000000000000"
    for method, path, body in (
        ("POST", "/v1/grants/{}/revoke", {"why": "x"}),
        ("DELETE", "/v1/grants/{}", None),
        ("POST", "/v1/grants/{}/tokens", None),
    ):
        there = gate.call("bob", method, path.format(grant), body)
        absent = gate.call("bob", method, path.format(ghost), body)
        assert there.status_code == absent.status_code == 404
        assert there.text.replace(grant, "G") == absent.text.replace(ghost, "G")
    assert grant in gate.call("ann", "GET", "/v1/grants").text


def test_a_recording_id_that_is_a_path_reads_nothing(gate: Gate) -> None:
    for name in ("..", "heads.tgr", "lock", "x%2f..%2f..%2fmaster.key", "-", "a b", "%00", "~"):
        answer = gate.call("rep", "GET", f"/v1/recordings/{name}")
        assert answer.status_code == 404, name


def test_the_gateways_own_secrets_cannot_be_set_or_removed(gate: Gate) -> None:
    assert (
        gate.call("adm", "PUT", "/v1/secrets/taskgate/mask-key", {"value": "x"}).status_code == 422
    )
    assert gate.call("adm", "DELETE", "/v1/secrets/taskgate/mask-key").status_code == 422
    assert "mask-key" not in gate.call("adm", "GET", "/v1/secrets").text


def test_no_secret_comes_back_by_any_way(gate: Gate) -> None:
    value = "a-secret-value-of-its-own"
    assert gate.call("adm", "PUT", "/v1/secrets/db/password", {"value": value}).status_code == 204
    everything = gate.call("adm", "GET", "/v1/secrets").text
    everything += gate.call("adm", "GET", "/v1/secrets/db/password").text
    everything += gate.call("adm", "PUT", "/v1/secrets/bad name", {"value": value}).text
    everything += gate.log
    for path in (gate.folder / "state").rglob("*"):
        # What is written anew and put in another's place is gone by its first name.
        with suppress(FileNotFoundError):
            if path.is_file():
                everything += path.read_bytes().decode("latin-1")
    assert value not in everything


def test_metrics_are_not_for_everybody_who_comes_through_a_proxy(gate: Gate) -> None:
    assert gate.call(None, "GET", "/metrics").status_code == 200, "this machine itself"
    for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        with gate.client() as client:
            assert client.get("/metrics", headers={header: "203.0.113.9"}).status_code == 401
        with gate.client("ann") as client:
            assert client.get("/metrics", headers={header: "127.0.0.1"}).status_code == 403
        with gate.client("adm") as client:
            assert client.get("/metrics", headers={header: "203.0.113.9"}).status_code == 200


def test_a_websocket_and_odd_methods_open_nothing(gate: Gate) -> None:
    with gate.client("adm") as client:
        for method in ("TRACE", "CONNECT", "OPTIONS", "PROPFIND", "HEAD", "PATCH"):
            assert client.request(method, "/v1/users").status_code in (400, 405)
        upgrade = {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
        }  # fmt: skip
        assert client.get("/v1/approvals/stream2", headers=upgrade).status_code == 404


def test_another_site_gets_no_leave_to_read(gate: Gate) -> None:
    with gate.client("ann") as client:
        answer = client.get("/v1/me", headers={"Origin": "https://elsewhere.example"})
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_client_that_never_ends_its_request_loses_its_place(gate: Gate) -> None:
    context = ssl.create_default_context(cafile=str(gate.ca))
    port = int(gate.url.rpartition(":")[2])
    for beginning in (b"", b"GET /v1/me HTTP/1.1\r\nHost: localhost\r\nX-Slow: "):
        with (
            socket.create_connection(("localhost", port), timeout=PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(beginning)
            with suppress(ssl.SSLError, ConnectionError):
                assert connection.recv(1) == b""
