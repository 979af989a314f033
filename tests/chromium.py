"""Debian's Chromium, driven by WebDriver (W3C) over plain HTTP: for what only a browser does."""

import base64
import hashlib
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from taskgate.demo.cluster import free_port

# The key of a reference to an element (WebDriver section 12.1).
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_PATIENCE_S = 60.0
_ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=900,900",
)  # fmt: skip


class Chromium:
    """One browser with a profile of its own."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client = client
        self._session = session

    def open(self, url: str) -> None:
        self._ask("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._ask("GET", "/url"))

    @property
    def text(self) -> str:
        """What a person can read."""
        # Not by way of an element: the page may be another one by then.
        return str(self.run("return document.body ? document.body.innerText : ''"))

    @property
    def cookies(self) -> dict[str, dict[str, Any]]:
        """Those that the page at hand would be asked with."""
        return {one["name"]: one for one in self._ask("GET", "/cookie")}

    def type(self, selector: str, text: str) -> None:
        self._ask("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        self._ask("POST", f"/element/{self._find(selector)}/click", {})

    def wait_for(self, start: str) -> None:
        """Until the address begins so."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.url.startswith(start):
            assert time.monotonic() < deadline, f"at {self.url}: {self.text[:2000]}"
            time.sleep(0.1)

    def wait_text(self, text: str) -> None:
        """Until the page shows `text`."""
        deadline = time.monotonic() + _PATIENCE_S
        while text not in self.text:
            assert time.monotonic() < deadline, f"no {text!r} in: {self.text[:2000]}"
            time.sleep(0.1)

    def run(self, script: str) -> Any:
        """What a function body returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": []})

    def forget(self) -> None:
        """Drops the page's cookies."""
        self._ask("DELETE", "/cookie")

    @contextmanager
    def authenticator(self, *, verifies: bool = True) -> Iterator[str]:
        """A virtual authenticator (WebAuthn level 2, section 11); its id."""
        wanted = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
            "hasUserVerification": True, "isUserVerified": verifies, "isUserConsenting": True,
        }  # fmt: skip
        found = str(self._ask("POST", "/webauthn/authenticator", wanted))
        try:
            yield found
        finally:
            self._ask("DELETE", f"/webauthn/authenticator/{found}")

    def credentials(self, authenticator: str) -> list[dict[str, Any]]:
        return list(self._ask("GET", f"/webauthn/authenticator/{authenticator}/credentials"))

    def put_credential(self, authenticator: str, credential: dict[str, Any]) -> None:
        """In place of all that it has."""
        base = f"/webauthn/authenticator/{authenticator}/credential"
        self._ask("DELETE", f"{base}s")
        self._ask("POST", base, credential)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def _find(self, selector: str) -> str:
        asked = {"using": "css selector", "value": selector}
        return str(self._ask("POST", "/element", asked)[_ELEMENT])

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        answer = self._client.request(method, f"/session/{self._session}{path}", json=body)
        found = answer.json()["value"]
        assert answer.status_code == 200, found
        return found


@contextmanager
def chromium(trusted: str = "") -> Iterator[Chromium]:
    """One browser, which takes any certificate. The one that `trusted` (`host:port`) shows now
    counts as in order: with an error, however it is dealt with, there are no passkeys."""
    driver = shutil.which("chromedriver")
    if driver is None or shutil.which("chromium") is None:
        if os.environ.get("TASKGATE_TEST_ALL"):
            pytest.fail("Chromium is not installed, and this run must test with it")
        pytest.skip("not installed: apt-get install chromium chromium-driver")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tg-chromium-") as folder:
        process = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        base = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(base_url=base, trust_env=False, timeout=_PATIENCE_S) as client:
                _wait(client)
                arguments = [*_ARGUMENTS, f"--user-data-dir={folder}"]
                if trusted:
                    key = _key_digest(trusted)
                    arguments.append(f"--ignore-certificate-errors-spki-list={key}")
                options = {"args": arguments}
                wanted = {
                    "browserName": "chrome", "acceptInsecureCerts": True,
                    "goog:chromeOptions": options,
                }  # fmt: skip
                made = client.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
                assert made.status_code == 200, made.text
                session = made.json()["value"]["sessionId"]
                try:
                    yield Chromium(client, session)
                finally:
                    client.delete(f"/session/{session}")
        finally:
            process.terminate()
            process.wait(_PATIENCE_S)


def _key_digest(address: str) -> str:
    host, _, port = address.rpartition(":")
    pem = ssl.get_server_certificate((host, int(port)), timeout=_PATIENCE_S)
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def _wait(client: httpx.Client) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if client.get("/status").json()["value"]["ready"]:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    pytest.fail("chromedriver did not start")
