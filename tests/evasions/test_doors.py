"""Guessing at every door: it is slowed down, recorded, and tells nothing. Each test has a gateway
of its own, because it leaves one behind that waits."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskgate.identity.tokens import TokenKind, new_token
from taskgate.identity.totp import code_of, step_at
from tests.api.gate import PEOPLE, Gate, password_of, start_gate

# So few that a minute's worth is used up long before a slow machine gains the next one.
FEW = 2
RATES = {
    "MAX_BAD_TOKENS_PER_SOURCE_PER_MIN": 12,
    "MAX_LOGINS_PER_NAME_PER_MIN": 600,
    "MAX_LOGINS_PER_SOURCE_PER_MIN": 600,
}
SLOW = {"MAX_LOGINS_PER_SOURCE_PER_MIN": FEW}


@contextmanager
def started(folder: Path, limits: Mapping[str, float], *people: str) -> Iterator[Gate]:
    gate = asyncio.run(
        start_gate(folder, people={who: PEOPLE[who] for who in people or PEOPLE}, limits=limits)
    )
    try:
        yield gate
    finally:
        gate.stop()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with started(tmp_path, RATES) as running:
        yield running


def failures(gate: Gate, door: str) -> int:
    """How many refused sign-ins the records have for a door."""
    text = "".join(p.read_text() for p in (gate.folder / "state/recordings").rglob("*.tgr"))
    return sum('"login.failed"' in line and f'"{door}"' in line for line in text.splitlines())


@pytest.mark.cap("MAX_BAD_TOKENS_PER_SOURCE_PER_MIN")
def test_guessed_api_tokens_are_refused_alike_counted_and_recorded(gate: Gate) -> None:
    good = gate.token("aud")
    most = RATES["MAX_BAD_TOKENS_PER_SOURCE_PER_MIN"]
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
    for code in recovery:
        for number in range(7):
            guess = f"{number:06d}" if number % 2 else f"aaaa-bbbb-cccc-ddd{number}"
            told.append(gate.call(None, "POST", "/v1/login", {**body, "code": guess}))
        assert {answer.status_code for answer in told} == {401}
        assert len({answer.text for answer in told}) == 1
        right = gate.call(None, "POST", "/v1/login", {**body, "code": code})
        # On a busy machine the seconds for which it must wait may be over. Then anew.
        if right.status_code != 200:
            break
    # It waits like any other, says the same, and is not spent by that.
    assert (right.status_code, right.text) == (401, told[0].text)
    wrong = gate.call(None, "POST", "/v1/login", {"name": "bob", "password": "x", "code": "1"})
    assert wrong.text == told[0].text
    assert failures(gate, "api") == len(told) + 2
    for _ in range(60):
        time.sleep(1)
        again = gate.call(None, "POST", "/v1/login", {**body, "code": code})
        if again.status_code == 200:
            break
    assert again.json()["me"]["method"] == "password+recovery"


def test_guessed_one_time_codes_of_the_first_run_are_slowed_down(tmp_path: Path) -> None:
    with started(tmp_path, SLOW, "ann") as gate:
        line = next(one for one in gate.log.splitlines() if '"bootstrap.code"' in one)
        code = json.loads(line)["code"]
        told = [
            gate.call(None, "POST", "/v1/bootstrap", {
                "code": f"aaaa-bbbb-cccc-{number:04d}", "name": "evil", "password": "long enough"
            })
            for number in range(FEW + 5)
        ]  # fmt: skip
        assert {answer.status_code for answer in told} == {401, 429}
        assert len({answer.text for answer in told if answer.status_code == 401}) == 1
        right = gate.call(None, "POST", "/v1/bootstrap", {
            "code": code, "name": "evil", "password": "long enough"
        })  # fmt: skip
        assert right.status_code == 429, "the right code must wait as well"
        assert failures(gate, "bootstrap") >= FEW
        assert b"evil" not in (gate.folder / "state/taskgate.db").read_bytes()


def test_the_passkey_door_names_nobody_and_counts(tmp_path: Path) -> None:
    with started(tmp_path, SLOW) as gate, gate.client() as client:
        token = (
            client.get("/console/login").text.split('name="form_token" value="')[1].split('"')[0]
        )
        begun = client.post("/console/passkeys/sign-in/begin", json={"form_token": token})
        assert begun.status_code == 200
        # No list of credentials: whoever asks learns of nobody.
        assert "allowCredentials" not in begun.json()["publicKey"]
        shown = {"form_token": token, "credential": {"id": "x", "rawId": "x", "response": {}}}
        told = [
            client.post("/console/passkeys/sign-in/finish", json=shown) for _ in range(FEW + 10)
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
