"""SimpleSAMLphp from Debian, as an identity provider of this run's own."""

import base64
import html
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest

from taskgate.demo.cluster import free_port
from tests.saml_provider.keys import write_pair

HERE = Path(__file__).parent
PROGRAM = Path("/usr/share/simplesamlphp/www")
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Form:
    """A page's one form, as a browser would send it."""

    action: str
    fields: dict[str, str] = field(repr=False)

    @property
    def message(self) -> bytes:
        """The XML of the SAML message in it."""
        name = "SAMLResponse" if "SAMLResponse" in self.fields else "SAMLRequest"
        return base64.b64decode(self.fields[name])


class Browser:
    """Does what a person's browser does: keeps cookies, follows, sends forms by itself."""

    def __init__(self, verify: str | bool = True) -> None:
        self.client = httpx.Client(trust_env=False, timeout=30, verify=_context(verify))

    def close(self) -> None:
        self.client.close()

    def open(self, url: str) -> httpx.Response:
        """Follows until a page comes, or an address that nobody listens at (a loopback one)."""
        return self._follow(self.client.get(url))

    def send(self, form: Form) -> httpx.Response:
        return self._follow(self.client.post(form.action, data=form.fields))

    def sign_in(self, url: str, who: str) -> Form:
        """Signs in at the provider as `who`; the form with which it sends the browser back."""
        page = self.open(url)
        if 'name="password"' in page.text:
            form = form_of(page)
            fields = form.fields | {"username": who, "password": f"secret-of-{who}"}
            page = self.send(Form(form.action, fields))
        form = form_of(page)
        assert "SAMLResponse" in form.fields, page.text[:2000]
        return form

    def _follow(self, answer: httpx.Response) -> httpx.Response:
        for _ in range(15):
            target = answer.headers.get("location", "")
            if not answer.is_redirect:
                return answer
            url = urljoin(str(answer.url), target)
            if urlsplit(url).path == "/callback":
                return answer
            answer = self.client.get(url)
        raise AssertionError(f"redirected for ever, at last to {answer.headers['location']}")


def form_of(page: httpx.Response) -> Form:
    found = re.search(r"<form[^>]*>", page.text)
    assert found, f"no form in {page.status_code} {page.url}: {page.text[:3000]}"
    action = re.search(r'action="([^"]*)"', found.group())
    fields = {}
    for tag in re.findall(r"<input[^>]*>", page.text):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name:
            fields[html.unescape(name.group(1))] = html.unescape(value.group(1)) if value else ""
    target = html.unescape(action.group(1)) if action else ""
    return Form(urljoin(str(page.url), target), fields)


@dataclass(slots=True)
class RealProvider:
    """`base` is where it is; `box` its folder; `process` PHP's own server."""

    base: str
    box: Path
    process: "subprocess.Popen[bytes]"

    @property
    def entity_id(self) -> str:
        return f"{self.base}/idp"

    @property
    def metadata_url(self) -> str:
        return f"{self.base}/saml2/idp/metadata.php"

    @property
    def certificate(self) -> Path:
        return self.box / "idp.crt"

    def metadata(self) -> bytes:
        return httpx.get(self.metadata_url, trust_env=False, timeout=20).content

    def knows(self, metadata: bytes) -> None:
        """Takes a service provider's metadata, as an administrator would paste it."""
        path = self.box / "sp.xml"
        path.with_suffix(".new").write_bytes(metadata)
        path.with_suffix(".new").replace(path)

    def set(self, options: Mapping[str, object]) -> None:
        """Sets options of the hosted provider (SimpleSAMLphp's own names); forgets others."""
        path = self.box / "options.json"
        path.with_suffix(".new").write_text(json.dumps(options or {"sign.logout": True}))
        path.with_suffix(".new").replace(path)

    def set_context(self, context: str) -> None:
        """Says that people sign in by this class of AuthnContext."""
        named = {
            "class": "saml:AttributeNameID", "attribute": "uid",
            "Format": "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
        }  # fmt: skip
        told = {"class": "saml:AuthnContextClassRef", "AuthnContextClassRef": context}
        self.set({"authproc": {"1": named, "2": told}})

    @contextmanager
    def down(self) -> Iterator[None]:
        """While the block runs, nobody answers there."""
        self.process.kill()
        self.process.wait()
        try:
            yield
        finally:
            self.process = _started(self.base, self.box)
            _wait(self)

    def said(self) -> str:
        return "".join(path.read_text() for path in (self.box / "log").glob("*"))


def state_of(url: str, name: str = "state") -> str:
    return parse_qs(urlsplit(url).query)[name][0]


@contextmanager
def real_provider() -> Iterator[RealProvider]:
    if shutil.which("php") is None or not PROGRAM.is_dir():
        # `make test` installs both where it can; elsewhere there is nothing to run.
        if os.environ.get("TASKGATE_TEST_ALL"):
            pytest.fail("SimpleSAMLphp is not installed, and this run must test with it")
        pytest.skip("not installed: apt-get install simplesamlphp php-cli")
    with tempfile.TemporaryDirectory(prefix="tg-saml-") as folder:
        box, base = Path(folder), f"http://127.0.0.1:{free_port()}"
        for name in ("config", "metadata", "log", "data", "tmp"):
            (box / name).mkdir()
        for name in ("config.php", "authsources.php"):
            shutil.copy(HERE / name, box / "config")
        shutil.copy(HERE / "saml20-idp-hosted.php", box / "metadata")
        write_pair(box / "idp.key", box / "idp.crt")
        provider = RealProvider(base, box, _started(base, box))
        provider.set({})
        try:
            _wait(provider)
            yield provider
        finally:
            provider.process.kill()
            provider.process.wait()


def _started(base: str, box: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {
        "SIMPLESAMLPHP_CONFIG_DIR": str(box / "config"), "TASKGATE_SAML_BOX": str(box),
        "TASKGATE_SAML_BASE": base,
    }  # fmt: skip
    with (box / "log" / "server").open("ab") as log:
        return subprocess.Popen(
            ["php", "-S", base.removeprefix("http://"), "-t", str(PROGRAM)],
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip


def _wait(provider: RealProvider) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and provider.process.poll() is None:
        try:
            if httpx.get(provider.metadata_url, trust_env=False, timeout=20).content.startswith(
                b"<?xml"
            ):
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    pytest.fail("the provider did not start:\n" + provider.said())


def _context(verify: str | bool) -> ssl.SSLContext | bool:
    if isinstance(verify, str):
        return ssl.create_default_context(cafile=verify)
    return verify
