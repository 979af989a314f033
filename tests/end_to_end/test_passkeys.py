"""Passkeys in a real browser: made, used, and what does not get in."""

import asyncio
import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from taskgate.identity.totp import code_of, step_at
from tests.api.gate import Gate, password_of, start_gate
from tests.chromium import Chromium, chromium
from tests.patience import eventually
from tests.recorded import recorded_text


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    running = asyncio.run(start_gate(tmp_path_factory.mktemp("passkeys")))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def shared(gate: Gate) -> Iterator[Chromium]:
    with chromium(urlsplit(gate.url).netloc) as window:
        yield window


@pytest.fixture
def window(shared: Chromium, gate: Gate) -> Chromium:
    shared.open(f"{gate.url}/console/login")
    shared.forget()
    return shared


@pytest.fixture
def device(window: Chromium) -> Iterator[str]:
    with window.authenticator() as found:
        yield found


def sign_in(window: Chromium, gate: Gate, who: str, code: str = "") -> None:
    window.open(f"{gate.url}/console/login?next=/console/security")
    window.type("#name", who)
    window.type("#password", password_of(who))
    if code:
        window.type("#code", code)
    window.click("form[action='/console/login'] button")
    window.wait_text("How you sign in")


def by_passkey(window: Chromium, gate: Gate) -> None:
    window.forget()
    window.open(f"{gate.url}/console/login?next=/console/security")
    window.click("form[data-passkey='get'] button")


def test_a_passkey_is_made_in_the_console_and_signs_in_alone(
    window: Chromium, gate: Gate, device: str, tmp_path: Path
) -> None:
    sign_in(window, gate, "ann")
    window.type("#passkey-label", "test laptop")
    window.click("form[data-passkey='create'] button")
    window.wait_text("The passkey is added")
    window.wait_text("test laptop")
    assert len(window.credentials(device)) == 1

    by_passkey(window, gate)
    window.wait_text("How you sign in")
    assert "ann" in window.text
    window.screenshot(tmp_path / "security.png")
    recorded = recorded_text(gate.folder / "state/recordings")
    assert '"method":"passkey"' in recorded.replace(" ", "")

    # A password alone is not enough any more, and says nothing else to a wrong one.
    body = {"name": "ann", "password": password_of("ann")}
    problem = gate.call(None, "POST", "/v1/login", body).json()
    assert problem["type"] == "urn:taskgate:problem:second-factor-needed"

    # A copy of it that is used elsewhere: the counter has gone back.
    (kept,) = window.credentials(device)
    window.put_credential(device, {**kept, "signCount": 0})
    by_passkey(window, gate)
    window.wait_text("not known here")
    alerts = gate.call("aud", "GET", "/v1/alerts").json()
    assert "passkey.copied" in {one["kind"] for one in alerts}
    window.put_credential(device, {**kept, "signCount": 100})
    by_passkey(window, gate)
    window.wait_text("How you sign in")


def test_a_device_that_does_not_verify_the_person_makes_none_and_lets_nobody_in(
    window: Chromium, gate: Gate
) -> None:
    alert = "form[data-passkey='create'] [role=alert]"
    with window.authenticator(verifies=False):
        sign_in(window, gate, "bob")
        window.click("form[data-passkey='create'] button")
        eventually(lambda: window.run(f'return document.querySelector("{alert}").textContent'))
    assert gate.call("bob", "GET", "/v1/mfa").json()["factors"] == []


@pytest.mark.usefixtures("device")
def test_somebody_who_is_disabled_does_not_come_in_by_a_passkey(
    window: Chromium, gate: Gate
) -> None:
    sign_in(window, gate, "lou")
    window.click("form[data-passkey='create'] button")
    window.wait_text("The passkey is added")
    gate.call("adm", "POST", "/v1/users/lou/disable")
    by_passkey(window, gate)
    window.wait_text("not known here")
    gate.call("adm", "POST", "/v1/users/lou/enable")
    by_passkey(window, gate)
    window.wait_text("How you sign in")


def test_an_app_is_enrolled_in_the_console_and_recovery_codes_are_shown_once(
    window: Chromium, gate: Gate, tmp_path: Path
) -> None:
    sign_in(window, gate, "rep")
    window.click("form[action='/console/security/apps'] button")
    window.wait_text("Scan this with the app")
    assert window.run("return document.querySelector('.qr svg').getBoundingClientRect().width") > 99
    window.screenshot(tmp_path / "enrol.png")
    key = re.search(r"its key: ([A-Z2-7 ]+)", window.text)
    assert key is not None
    secret = base64.b32decode(key[1].replace(" ", "").strip())
    window.type("#code", code_of(secret, step_at(time.time())))
    window.click("form[action$='/confirm'] button")
    window.wait_text("Write these recovery codes down")
    codes = window.run(
        "return [...document.querySelectorAll('.warn code')].map(c => c.textContent)"
    )
    assert len(codes) == 10
    window.open(f"{gate.url}/console/security")
    assert codes[0] not in window.text
    window.forget()
    sign_in(window, gate, "rep", codes[0])


def test_pages_with_a_script_take_no_other(window: Chromium, gate: Gate) -> None:
    with gate.client() as client:
        policy = client.get("/console/login").headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    window.open(f"{gate.url}/console/login")
    ran = window.run(
        "const s = document.createElement('script'); s.textContent = 'window.evil = 1';"
        " document.head.append(s); return window.evil === undefined"
    )
    assert ran is True
