"""The certified provider from npm, as a process of this run's own."""

import base64
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from taskgate.demo.cluster import free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CLIENT_SECRET = "a-client-secret-of-the-tests"
AUDIENCE = "urn:gate"


@dataclass(slots=True)
class RealProvider:
    """`issuer` is where it is, and what it calls itself."""

    issuer: str
    process: "subprocess.Popen[str]"

    def browse(self, url: str, who: str, verify: str | bool = True) -> httpx.Response:
        """Does what a browser does whose person signs in as `who` and agrees to everything; the
        answer of the first address that is not the provider's."""
        with httpx.Client(trust_env=False, timeout=20, verify=verify) as browser:
            browser.get(f"{self.issuer}/sign-in", params={"login": who})
            answer = browser.get(url)
            for _ in range(12):
                if not answer.is_redirect:
                    break
                target = answer.headers["location"]
                if target.startswith("/"):
                    target = self.issuer + target
                if not target.startswith(self.issuer):
                    return httpx.Response(200, text=target)
                answer = browser.get(target)
            return answer

    def come_back(self, url: str, who: str) -> str:
        """Signs in at `url`; the loopback address that the provider sends the browser to."""
        answer = self.browse(url, who)
        assert answer.text.startswith("http://127.0.0.1"), answer.text
        return answer.text

    def confirm(self, url: str, who: str) -> None:
        """Confirms a device's code at its complete address, as `who`."""
        with httpx.Client(trust_env=False, timeout=20, follow_redirects=True) as browser:
            browser.get(f"{self.issuer}/sign-in", params={"login": who})
            page = browser.get(url)
            fields = _hidden(page.text)
            action = f"{self.issuer}/device"
            answer = browser.post(action, data=fields)
            if 'name="confirm"' in answer.text or "confirm" in answer.text:
                browser.post(action, data=_hidden(answer.text) | {"confirm": "yes"})

    def tokens(self, who: str, client: str = "taskgate") -> dict[str, str]:
        """The provider's answer to a whole sign-in of a client's own."""
        verifier, redirect = "v" * 50, "http://127.0.0.1:7777/callback"
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        query = {
            "response_type": "code", "client_id": client, "redirect_uri": redirect,
            "scope": "openid", "state": "s", "nonce": "n", "code_challenge_method": "S256",
            "code_challenge": challenge.rstrip(b"=").decode(),
        }  # fmt: skip
        target = self.come_back(f"{self.issuer}/auth?{urlencode(query)}", who)
        form = {
            "grant_type": "authorization_code", "code_verifier": verifier,
            "redirect_uri": redirect, "code": parse_qs(urlsplit(target).query)["code"][0],
        }  # fmt: skip
        secret = ("taskgate", CLIENT_SECRET) if client == "taskgate" else None
        if secret is None:
            form["client_id"] = client
        answer = httpx.post(
            f"{self.issuer}/token", data=form, auth=secret, trust_env=False, timeout=20
        )
        found: dict[str, str] = answer.json()
        return found

    def robot_token(self) -> str:
        """A JWT access token that a client got for itself (client credentials)."""
        answer = httpx.post(
            f"{self.issuer}/token",
            data={"grant_type": "client_credentials", "resource": AUDIENCE},
            auth=("robot", "a-robots-secret"),
            trust_env=False,
            timeout=20,
        )
        return str(answer.json()["access_token"])

    def know(self, gate_url: str) -> None:
        """Tells it where the gate is; see server.mjs."""
        target = f"{self.issuer}/gate?{urlencode({'url': gate_url})}"
        urllib.request.urlopen(target, data=b"", timeout=20).close()

    def rotate(self) -> None:
        """New signing key, old one gone."""
        urllib.request.urlopen(f"{self.issuer}/rotate", data=b"", timeout=20).close()


def _hidden(page: str) -> dict[str, str]:
    found = {}
    for tag in re.findall(r"<input[^>]*>", page):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name:
            found[name.group(1)] = value.group(1) if value else ""
    return found


def modules() -> Path:
    """The folder with the provider's modules, installed once by `npm ci` from the lock file."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        # `make test` installs both where it can; elsewhere there is nothing to run.
        if os.environ.get("TASKGATE_TEST_ALL"):
            pytest.fail("node and npm are not installed, and this run must test with them")
        pytest.skip("node and npm are not installed: apt-get install nodejs npm")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = ROOT / ".cache" / f"oidc_provider-{hashlib.sha256(lock).hexdigest()[:12]}"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as alone:
        # The others of a run may need it just now, too.
        fcntl.flock(alone, fcntl.LOCK_EX)
        _install(folder)
    return folder


def _install(folder: Path) -> None:
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if done.returncode:
            pytest.fail(f"npm ci failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        (folder / "installed").touch()


@contextmanager
def real_provider() -> Iterator[RealProvider]:
    port = free_port()
    folder = modules()
    process = subprocess.Popen(
        ["node", str(HERE / "server.mjs"), str(port), str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.strip() == "ready":
                break
        else:
            pytest.fail("the provider did not start:\n" + "".join(said))
        yield RealProvider(f"http://127.0.0.1:{port}", process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
