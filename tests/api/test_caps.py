"""The API's caps, at a gateway whose caps were made small."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Iterator

import httpx
import pytest

from taskgate.identity.scim.schemas import GROUP, USER
from tests.api.gate import POLICY, Gate, password_of, start_gate
from tests.api.test_scim import TOKEN, change, make, provider
from tests.patience import PATIENCE_S, eventually, within

# Apart from the others, which must not be cut off by these on a busy machine.
HASTY = {"API_HEAD_TIMEOUT_S": 3.0, "API_BODY_TIMEOUT_S": 2.0}
LOW = {
    "MAX_API_CONNECTIONS": 12,
    "MAX_API_STREAMS_PER_PERSON": 2,
    "MAX_EXCHANGES_PER_SOURCE_PER_MIN": 3,
    "MAX_PLACES": 2,
    "MAX_HYGIENE_LINES": 2,
    "MAX_SCIM_PAGE": 2,
    "MAX_SCIM_MEMBERS": 2,
    "MAX_SCIM_RESOURCES": 5,
}


@pytest.fixture(scope="module")
def low(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("low")
    (folder / "scim.token").write_text(TOKEN)
    (folder / "scim.token").chmod(0o600)
    more = "scim: {token: {file: scim.token}}\n"
    gate = asyncio.run(start_gate(folder, more=more, limits=LOW, policy_text=POLICY))
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    gate = asyncio.run(start_gate(tmp_path_factory.mktemp("hasty"), limits=HASTY))
    yield gate
    gate.stop()


@contextlib.contextmanager
def raw(gate: Gate) -> Iterator[ssl.SSLSocket]:
    """A connection that has said nothing yet."""
    context = ssl.create_default_context(cafile=str(gate.ca))
    port = httpx.URL(gate.url).port
    assert port is not None
    plain = socket.create_connection(("localhost", port), timeout=PATIENCE_S)
    with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
        yield wrapped


def answered(connection: ssl.SSLSocket) -> bytes:
    told = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := connection.recv(65536):
            told += piece
    return told


@pytest.mark.cap("API_HEAD_TIMEOUT_S")
@pytest.mark.parametrize("sent", ["", "GET /healthz HTTP/1.1\r\nHost: lo"])
def test_half_a_head_is_waited_for_so_long_and_no_longer(hasty: Gate, sent: str) -> None:
    def cut_s() -> float:
        with raw(hasty) as connection:
            began = time.monotonic()
            connection.sendall(sent.encode())
            assert answered(connection) == b""
            return time.monotonic() - began

    def waited_for() -> bool:
        with raw(hasty) as connection, contextlib.suppress(ConnectionError, ssl.SSLError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
            time.sleep(0.5)
            connection.sendall(b"Connection: close\r\n\r\n")
            return b" 200 " in answered(connection)
        return False

    within(10, cut_s)
    eventually(waited_for)


@pytest.mark.cap("API_BODY_TIMEOUT_S")
def test_half_a_body_is_waited_for_so_long_and_no_longer(hasty: Gate) -> None:
    head = (
        "POST /v1/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )

    def cut_s() -> float:
        with raw(hasty) as connection:
            began = time.monotonic()
            connection.sendall(head.encode() + b'{"name": "a')
            told = answered(connection)
            took_s = time.monotonic() - began
        assert b" 408 " in told
        assert b"too slowly" in told
        return took_s

    within(10, cut_s)


@pytest.mark.cap("MAX_API_CONNECTIONS")
def test_more_connections_than_that_are_told_to_come_back(low: Gate) -> None:
    low.token("ann")
    low.hang_up()
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(raw(low))
        assert low.call("ann", "GET", "/v1/me").status_code == 503

    def served() -> bool:
        low.hang_up()
        return low.call("ann", "GET", "/v1/me").status_code == 200

    eventually(served)


@pytest.mark.cap("MAX_API_STREAMS_PER_PERSON")
def test_a_person_has_so_many_streams_and_another_has_theirs(low: Gate) -> None:
    path = "/v1/approvals/stream"
    with contextlib.ExitStack() as stack:

        def opened(who: str) -> int:
            client = stack.enter_context(low.client(who))
            return stack.enter_context(client.stream("GET", path)).status_code

        assert [opened("lea") for _ in range(3)] == [200, 200, 413]
        assert opened("lou") == 200


@pytest.mark.cap("MAX_EXCHANGES_PER_SOURCE_PER_MIN")
def test_one_source_exchanges_so_many_tokens_in_a_minute(low: Gate) -> None:
    with low.client() as client:
        tried = [client.post("/v1/token", data={"grant_type": "x"}) for _ in range(4)]
    assert [answer.status_code for answer in tried] == [400, 400, 400, 429]
    assert int(tried[-1].headers["retry-after"]) >= 1


@pytest.mark.cap("MAX_PLACES", "MAX_HYGIENE_LINES")
def test_maps_and_reports_have_so_many_lines(low: Gate) -> None:
    context = ssl.create_default_context(cafile=str(low.ca))
    for last in (2, 3, 4):
        transport = httpx.HTTPTransport(verify=context, local_address=f"127.0.0.{last}")
        with httpx.Client(transport=transport, timeout=PATIENCE_S, trust_env=False) as client:
            body = {"name": "bob", "password": password_of("bob")}
            url = low.url.replace("localhost", "127.0.0.1")
            assert client.post(f"{url}/v1/login", json=body).status_code == 200
    places = low.call("aud", "POST", "/v1/where-used", {"what": "bob"}).json()["places"]
    assert [place["source"] for place in places] == ["127.0.0.4", "127.0.0.3"]
    unused = low.call("aud", "GET", "/v1/hygiene").json()["unused_tasks"]
    assert [one["task"] for one in unused] == ["both-shops", "lead-work"]


@pytest.mark.cap("MAX_SCIM_PAGE", "MAX_SCIM_MEMBERS", "MAX_SCIM_RESOURCES")
def test_a_directory_has_so_many_people_on_so_many_pages(low: Gate) -> None:
    with provider(low) as scim:
        ids = [make(scim, f"person-{number}") for number in range(5)]
        over = scim.post("/Users", json={"schemas": [USER], "userName": "one-too-many"})
        assert over.status_code == 413, over.text
        assert "5" in over.json()["detail"]

        for asked in ({}, {"count": 4}):
            page = scim.get("/Users", params=asked).json()
            assert (page["itemsPerPage"], page["totalResults"]) == (2, 5)

        members = [{"value": one} for one in ids]
        group = {"schemas": [GROUP], "displayName": "few", "members": members[:2]}
        made = scim.post("/Groups", json=group)
        assert made.status_code == 201
        more = change(
            scim, f"/Groups/{made.json()['id']}",
            {"op": "add", "path": "members", "value": members[2:3]},
        )  # fmt: skip
        assert more.status_code == 400
        assert "members" in more.json()["detail"]
        assert len(scim.get(f"/Groups/{made.json()['id']}").json()["members"]) == 2


@pytest.mark.cap("MAX_STANDING_S", "MAX_STANDING_USES")
def test_nobody_agrees_to_more_in_advance_than_may_be(gate: Gate) -> None:
    path = "/v1/approvals/a-none/approve"
    # Within the caps it is the approval that is missing.
    for more, status in (
        ({"minutes": 480, "uses": 1000}, 404),
        ({"minutes": 481, "uses": 1000}, 422),
        ({"minutes": 480, "uses": 1001}, 422),
    ):
        body = {"scope": "shape", **more}
        assert gate.call("lea", "POST", path, body).status_code == status, more


@pytest.mark.cap("MAX_SEARCH_RESULTS")
def test_a_search_gives_so_many_and_no_more(gate: Gate) -> None:
    for limit, status in ((10_000, 200), (10_001, 422)):
        answer = gate.call("aud", "GET", f"/v1/audit/search?limit={limit}")
        assert answer.status_code == status


@pytest.mark.cap("MAX_GRANT_USES", "MAX_STEP_CHARS", "MAX_NARROWING_LINES")
def test_what_a_derived_grant_may_say_of_itself(gate: Gate) -> None:
    grant = gate.grant("ann", "sales-report")
    lines = [f"shop.orders(c{number})" for number in range(201)]
    for body, status in (
        ({"uses": 100_000, "step": "x" * 100, "permit": [{"select": lines[:200]}]}, 201),
        ({"uses": 100_001}, 422),
        ({"step": "x" * 101}, 422),
        ({"permit": [{"select": lines}]}, 422),
    ):
        answer = gate.call("ann", "POST", f"/v1/grants/{grant}/derive", body)
        assert answer.status_code == status, answer.text
