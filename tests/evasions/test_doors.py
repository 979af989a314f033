"""Guessing at every door: it is slowed down, recorded, and tells nothing. Each test has a gateway
of its own, because it leaves one behind that waits."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.identity.tokens import TokenKind, new_token
from taskgate.identity.totp import code_of, step_at
from taskgate.model import limits
from tests.api.gate import PEOPLE, Gate, password_of, start_gate


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    running = asyncio.run(start_gate(tmp_path))
    yield running
    running.stop()


def failures(gate: Gate, door: str) -> int:
    """How many refused sign-ins the records have for a door."""
    text = "".join(p.read_text() for p in (gate.folder / "state/recordings").rglob("*.tgr"))
    return sum('"login.failed"' in line and f'"{door}"' in line for line in text.splitlines())


@pytest.mark.cap("MAX_BAD_TOKENS_PER_SOURCE_PER_MIN")
def test_guessed_api_tokens_are_refused_alike_counted_and_recorded(gate: Gate) -> None:
    good = gate.token("aud")
    most = limits.MAX_BAD_TOKENS_PER_SOURCE_PER_MIN
    answers = []
    with gate.client() as client:
        for number in range(most + 40):
            # Of the right form, of another kind, mistyped, and no token at all.
            guess = (
                new_token(TokenKind.LOGIN)[0], new_token(TokenKind.GRANT)[0], good[:-1] + "~",
                "x" * (number + 1),
            )[number % 4]  # fmt: skip
            headers = {"Authorization": f"Bearer {guess}"}
            answers.append(client.get("/v1/me", headers=headers))
        refused = [a for a in answers if a.status_code == 401]
        assert len({a.text for a in refused}) == 1
        assert {a.status_code for a in answers} == {401, 429}
        assert most <= len(refused) < most + 40
        # Whoever is signed in is not kept waiting by it.
        headers = {"Authorization": f"Bearer {good}"}
        assert client.get("/v1/me", headers=headers).status_code == 200
    assert failures(gate, "bearer") == len(refused)
    metrics = gate.call("adm", "GET", "/metrics").text
    assert f'taskgate_login_failures_total{{door="bearer"}} {most + 40}.0' in metrics


def test_guessed_codes_of_an_app_lock_the_right_one_out_too(gate: Gate) -> None:
    begun = gate.call("ann", "POST", "/v1/mfa/apps", {}).json()
    secret = base64.b32decode(begun["secret"])
    path = f"/v1/mfa/apps/{begun['id']}/confirm"
    code = code_of(secret, step_at(time.time()))
    recovery = gate.call("ann", "POST", path, {"code": code}).json()["codes"]
    body = {"name": "ann", "password": password_of("ann")}
    told = []
    for number in range(7):
        guess = f"{number:06d}" if number % 2 else f"aaaa-bbbb-cccc-ddd{number}"
        told.append(gate.call(None, "POST", "/v1/login", {**body, "code": guess}))
    assert {answer.status_code for answer in told} == {401}
    assert len({answer.text for answer in told}) == 1
    right = gate.call(None, "POST", "/v1/login", {**body, "code": recovery[0]})
    # It waits like any other, says the same, and is not spent by that.
    assert (right.status_code, right.text) == (401, told[0].text)
    wrong = gate.call(None, "POST", "/v1/login", {"name": "bob", "password": "x", "code": "1"})
    assert wrong.text == told[0].text
    assert failures(gate, "api") == 9
    for _ in range(60):
        time.sleep(1)
        again = gate.call(None, "POST", "/v1/login", {**body, "code": recovery[0]})
        if again.status_code == 200:
            break
    assert again.json()["me"]["method"] == "password+recovery"


def test_guessed_one_time_codes_of_the_first_run_are_slowed_down(tmp_path: Path) -> None:
    gate = asyncio.run(start_gate(tmp_path, people={"ann": PEOPLE["ann"]}))
    try:
        line = next(one for one in gate.log.splitlines() if '"bootstrap.code"' in one)
        code = json.loads(line)["code"]
        most = limits.MAX_LOGINS_PER_SOURCE_PER_MIN
        told = [
            gate.call(None, "POST", "/v1/bootstrap", {
                "code": f"aaaa-bbbb-cccc-{number:04d}", "name": "evil", "password": "long enough"
            })
            for number in range(most + 20)
        ]  # fmt: skip
        assert {answer.status_code for answer in told} == {401, 429}
        assert len({answer.text for answer in told if answer.status_code == 401}) == 1
        right = gate.call(None, "POST", "/v1/bootstrap", {
            "code": code, "name": "evil", "password": "long enough"
        })  # fmt: skip
        assert right.status_code == 429, "the right code must wait as well"
        assert failures(gate, "bootstrap") >= most
        assert b"evil" not in (gate.folder / "state/taskgate.db").read_bytes()
    finally:
        gate.stop()


def test_the_passkey_door_names_nobody_and_counts(gate: Gate) -> None:
    with gate.client() as client:
        token = (
            client.get("/console/login").text.split('name="form_token" value="')[1].split('"')[0]
        )
        begun = client.post("/console/passkeys/sign-in/begin", json={"form_token": token})
        assert begun.status_code == 200
        # No list of credentials: whoever asks learns of nobody.
        assert "allowCredentials" not in begun.json()["publicKey"]
        shown = {"form_token": token, "credential": {"id": "x", "rawId": "x", "response": {}}}
        told = [
            client.post("/console/passkeys/sign-in/finish", json=shown)
            for _ in range(limits.MAX_LOGINS_PER_SOURCE_PER_MIN + 10)
        ]
        assert {answer.status_code for answer in told} == {401, 429}
        assert len({answer.text for answer in told if answer.status_code == 401}) == 1
        # From another page, or without the form's token: not at all.
        for bad in ({**shown, "form_token": "x"}, {**shown, "form_token": ""}):
            assert client.post("/console/passkeys/sign-in/finish", json=bad).status_code == 403
    assert failures(gate, "passkey") > 0


def test_no_door_is_open_to_a_user_who_is_disabled_though_they_know_everything(
    gate: Gate,
) -> None:
    begun = gate.call("bob", "POST", "/v1/mfa/apps", {}).json()
    secret = base64.b32decode(begun["secret"])
    code = code_of(secret, step_at(time.time()))
    codes = gate.call("bob", "POST", f"/v1/mfa/apps/{begun['id']}/confirm", {"code": code}).json()[
        "codes"
    ]
    gate.call("adm", "POST", "/v1/users/bob/disable")
    body = {"name": "bob", "password": password_of("bob")}
    without = gate.call(None, "POST", "/v1/login", body)
    with_code = gate.call(None, "POST", "/v1/login", {**body, "code": codes[0]})
    nobody = gate.call(None, "POST", "/v1/login", {"name": "ghost", "password": "x"})
    # Not even that a code would be needed.
    assert without.text == with_code.text == nobody.text
