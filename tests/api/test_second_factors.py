"""Second factors by the API: who may change them, what is asked for, and what is recorded."""

import base64
import time

import pytest

from taskgate.identity.totp import code_of, step_at
from taskgate.model import limits
from tests.api.gate import Gate, password_of
from tests.recorded import recorded_text

NEEDED = "urn:taskgate:problem:second-factor-needed"


def enrol(gate: Gate, who: str) -> tuple[bytes, list[str], str]:
    """An app that counts: its secret, recovery codes and id."""
    begun = gate.call(who, "POST", "/v1/mfa/apps", {"label": "phone"}).json()
    secret = base64.b32decode(begun["secret"])
    code = code_of(secret, step_at(time.time()))
    path = f"/v1/mfa/apps/{begun['id']}/confirm"
    answer = gate.call(who, "POST", path, {"code": code})
    assert answer.status_code == 200, answer.text
    return secret, answer.json()["codes"], begun["id"]


def sign_in(gate: Gate, who: str, code: str = "", password: str = "") -> tuple[int, dict[str, str]]:
    body = {"name": who, "password": password or password_of(who), "code": code}
    answer = gate.call(None, "POST", "/v1/login", body)
    return answer.status_code, answer.json()


def test_a_sign_in_needs_the_code_once_an_app_counts(own_gate: Gate) -> None:
    secret, codes, _ = enrol(own_gate, "ann")
    status, problem = sign_in(own_gate, "ann")
    assert (status, problem["type"]) == (401, NEEDED)
    status, wrong_code = sign_in(own_gate, "ann", "000000")
    assert (status, wrong_code["type"]) == (401, "urn:taskgate:problem:not-authenticated")
    _, wrong_password = sign_in(own_gate, "bob", "", "wrong")
    assert wrong_code == wrong_password
    status, done = sign_in(own_gate, "ann", codes[0])
    assert (status, done["me"]["method"]) == (200, "password+recovery")  # type: ignore[index]
    everything = recorded_text(own_gate.folder / "state/recordings")
    assert '"login.challenged"' in everything
    assert '"factor.changed"' in everything
    database = (own_gate.folder / "state/taskgate.db").read_bytes()
    database += (own_gate.folder / "state/taskgate.db-wal").read_bytes()
    for hidden in (secret, base64.b32encode(secret), secret.hex().encode(), codes[1].encode()):
        assert hidden not in database
        assert hidden not in everything.encode() + own_gate.log.encode()


def test_a_sign_in_from_before_the_factor_changes_nothing_any_more(own_gate: Gate) -> None:
    _, _, factor = enrol(own_gate, "ann")
    # The token that enrolled it is from before: whoever stole it could not take the app away.
    for method, path, body in (
        ("DELETE", f"/v1/mfa/{factor}", None),
        ("POST", "/v1/mfa/recovery-codes/renew", None),
        ("POST", "/v1/mfa/apps", {"label": "the thief's"}),
    ):
        answer = own_gate.call("ann", method, path, body)
        assert (answer.status_code, answer.json()["rule"]) == (403, "mfa"), path
    assert own_gate.call("ann", "GET", "/v1/mfa").json()["demanded"] is True


def test_an_administrator_resets_somebody_s_factors_and_that_ends_what_they_have(
    own_gate: Gate,
) -> None:
    enrol(own_gate, "ann")
    grant = own_gate.grant("ann")
    answer = own_gate.call("adm", "POST", "/v1/users/ann/reset-mfa")
    assert (answer.status_code, answer.json()) == (200, {"removed": 1})
    assert own_gate.call("ann", "GET", "/v1/me").status_code == 401
    grants = own_gate.call("rev", "GET", "/v1/grants?all=true&ended=true").json()
    ended = next(one for one in grants if one["id"] == grant)
    assert ended["revoked_why"] == "the second factors were reset"
    assert sign_in(own_gate, "ann")[0] == 200
    assert own_gate.call("adm", "POST", "/v1/users/adm/reset-mfa").json()["rule"] == "roles"


@pytest.mark.cap("MAX_FACTOR_TRIES_PER_PERSON_PER_MIN")
def test_guessing_the_confirmation_is_bounded(own_gate: Gate) -> None:
    begun = own_gate.call("ann", "POST", "/v1/mfa/apps", {"label": ""}).json()
    path = f"/v1/mfa/apps/{begun['id']}/confirm"
    statuses = {
        own_gate.call("ann", "POST", path, {"code": f"{n:06d}"}).status_code
        # Twice as many: in each part of the minute that passes, a part of them may go on.
        for n in range(2 * limits.MAX_FACTOR_TRIES_PER_PERSON_PER_MIN)
    }
    assert statuses == {409, 429}
    assert own_gate.call("ann", "GET", "/v1/mfa").json()["demanded"] is False
