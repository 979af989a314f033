"""Signing in and out: what it tells, and how often it may be tried."""

import time

import pytest

from tests.api.gate import Gate, password_of
from tests.patience import within
from tests.recorded import recorded_text

LOGIN = "/v1/login"


def test_a_name_and_its_password_give_a_token(gate: Gate) -> None:
    answer = gate.call(None, "POST", LOGIN, {"name": "aud", "password": password_of("aud")})
    assert answer.status_code == 200
    found = answer.json()
    assert found["me"]["key"] == "local:aud"
    assert found["me"]["rights"] == ["audit"]
    assert found["token"].startswith("tgl_")
    assert answer.headers["cache-control"] == "no-store"


def test_signing_out_ends_the_token(gate: Gate) -> None:
    body = {"name": "bob", "password": password_of("bob")}
    token = gate.call(None, "POST", LOGIN, body).json()["token"]
    with gate.client() as client:
        headers = {"Authorization": f"Bearer {token}"}
        assert client.get("/v1/me", headers=headers).status_code == 200
        assert client.post("/v1/logout", headers=headers).status_code == 204
        assert client.get("/v1/me", headers=headers).status_code == 401


def test_the_refusal_is_the_same_for_a_wrong_name_and_a_wrong_password(own_gate: Gate) -> None:
    own_gate.call("adm", "POST", "/v1/users/non/disable")
    tries = [
        {"name": "ann", "password": "wrong"},
        {"name": "nobody-here", "password": "wrong"},
        {"name": "non", "password": password_of("non")},
        {"name": "ann\u0000", "password": "wrong"},
        {"name": "x" * 200, "password": "wrong"},
    ]
    answers = [own_gate.call(None, "POST", LOGIN, body) for body in tries]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


def test_a_wrong_name_takes_as_long_as_a_wrong_password(own_gate: Gate) -> None:
    def took(name: str) -> float:
        began = time.perf_counter()
        own_gate.call(None, "POST", LOGIN, {"name": name, "password": "wrong"})
        return time.perf_counter() - began

    def times_longer() -> float:
        # Few, since soon none of a source's tries is looked at any more.
        known = min(took(name) for name in ("ann", "bob"))
        unknown = min(took(f"ghost-{number}") for number in range(2))
        return max(known / unknown, unknown / known)

    took("warm-up")
    within(3.0, times_longer)


@pytest.mark.cap("MAX_LOGINS_PER_NAME_PER_MIN")
def test_guessing_at_one_name_is_slowed_down_then_refused(own_gate: Gate) -> None:
    statuses = [
        own_gate.call(None, "POST", LOGIN, {"name": "ann", "password": f"guess {n}"}).status_code
        for n in range(30)
    ]
    assert set(statuses[:5]) == {401}
    assert 429 in statuses
    right = own_gate.call(None, "POST", LOGIN, {"name": "ann", "password": password_of("ann")})
    assert right.status_code in (401, 429), "the right password must wait as well"
    assert "taskgate_login_failures_total" in own_gate.call("adm", "GET", "/metrics").text


@pytest.mark.cap("MAX_LOGINS_PER_SOURCE_PER_MIN")
def test_guessing_at_many_names_from_one_place_is_refused(own_gate: Gate) -> None:
    for number in range(300):
        body = {"name": f"name{number}", "password": "Winter2026"}
        answer = own_gate.call(None, "POST", LOGIN, body)
        assert answer.status_code in (401, 429)
        if answer.status_code == 429:
            break
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


def test_a_failed_sign_in_is_recorded_without_what_was_typed(own_gate: Gate) -> None:
    own_gate.call(None, "POST", LOGIN, {"name": "ann", "password": "hunter2-typed"})
    own_gate.call(None, "POST", LOGIN, {"name": "my-password-in-the-name", "password": "x"})
    text = recorded_text(own_gate.folder / "state/recordings")
    assert '"login.failed"' in text
    assert "hunter2-typed" not in text
    assert "my-password-in-the-name" not in text
    assert "hunter2-typed" not in own_gate.log


def test_tokens_of_the_wrong_kind_or_form_are_refused(gate: Gate) -> None:
    issued = gate.call(
        "ann", "POST", "/v1/grants", {"task": "sales-report", "reason": "a test"}
    ).json()
    for credential in (
        f"Bearer {issued['token']}",
        "Bearer x",
        f"Basic {gate.token('adm')}",
        gate.token("adm"),
        f"Bearer {gate.token('adm')[:-1]}",
        f"Bearer {gate.token('adm')}x",
        f"Bearer {gate.token('adm').swapcase()}",
        "Bearer " + "x" * 5000,
    ):
        with gate.client() as client:
            answer = client.get("/v1/me", headers={"Authorization": credential})
        assert answer.status_code == 401, credential


def test_a_token_in_the_address_or_a_cookie_is_no_sign_in(gate: Gate) -> None:
    token = gate.token("adm")
    with gate.client() as client:
        for path in (f"/v1/me?token={token}", f"/v1/me?access_token={token}"):
            assert client.get(path).status_code == 401
        for name in ("__Host-taskgate", "Authorization", "token"):
            cookies = {"Cookie": f"{name}={token}"}
            assert client.get("/v1/me", headers=cookies).status_code == 401


def test_secrets_never_reach_the_log_or_the_recordings(gate: Gate) -> None:
    gate.call("ann", "GET", f"/v1/me?password={password_of('ann')}")
    issued = gate.call(
        "ann", "POST", "/v1/grants", {"task": "sales-report", "reason": "a test"}
    ).json()
    everything = gate.log + recorded_text(gate.folder / "state/recordings")
    for secret in (issued["token"], gate.token("ann"), password_of("ann")):
        assert secret not in everything
    database = (gate.folder / "state/taskgate.db").read_bytes()
    database += (gate.folder / "state/taskgate.db-wal").read_bytes()
    for secret in (issued["token"], gate.token("ann"), password_of("ann")):
        assert secret.encode() not in database
