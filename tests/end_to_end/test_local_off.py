"""Local users switched off: no door lets one in, and what they had is over."""

import asyncio
import signal
from pathlib import Path

import psycopg
import pytest

from tests.api.gate import Gate, launch, password_of, start_gate, wait_ready


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return asyncio.run(start_gate(tmp_path))


def test_switching_local_users_off_ends_sign_ins_and_grants(gate: Gate) -> None:
    token = gate.token("ann")
    issued = gate.call("ann", "POST", "/v1/grants", {"task": "sales-report", "reason": "x"}).json()
    reach = issued["connections"][0]
    gate.stop(signal.SIGTERM)
    config = gate.config.read_text()
    gate.config.write_text(config + "local_users: {enabled: false}\n")
    off = Gate(gate.folder, gate.url, launch(gate.folder), gate.ca)
    try:
        wait_ready(off)
        with off.client() as client:
            headers = {"Authorization": f"Bearer {token}"}
            assert client.get("/v1/me", headers=headers).status_code == 401
            body = {"name": "ann", "password": password_of("ann")}
            answers = [client.post("/v1/login", json=body)]
            answers.append(client.post("/v1/login", json={**body, "password": "wrong"}))
            assert {a.status_code for a in answers} == {401}
            assert len({a.text for a in answers}) == 1
            assert "switched off" in answers[0].text
        # The listener may be on another port now; the log names it.
        port = off.postgres_port()
        with pytest.raises(psycopg.OperationalError) as caught:
            psycopg.connect(
                host="127.0.0.1", port=port, user=reach["user"], dbname="shop",
                password=issued["token"], sslmode="require", connect_timeout=60,
            )  # fmt: skip
        assert "switched off" in str(caught.value)
    finally:
        off.stop()
