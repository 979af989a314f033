"""The console by a real provider: signing in, signing out there as well, and the provider signing
somebody out, with their open psql."""

import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import psycopg
import pytest

from tests.end_to_end.conftest import Setting
from tests.gates import running_gate
from tests.oidc_provider.running import CLIENT_SECRET, RealProvider, real_provider
from tests.oidc_provider.window import Window
from tests.patience import PATIENCE_S, eventually
from tests.recorded import recorded_text
from tests.servers import Server, Servers

TASKS = """
kind: Task
name: report
resource: target
for: {groups: [corp/analysts, corp/visitors]}
permit: [{select: [shop.orders]}, {call: [pg_catalog.pg_sleep]}]
"""
COOKIE = "__Host-taskgate"
FLOW = "__Host-taskgate-oidc"


@dataclass(frozen=True, slots=True)
class Console:
    setting: Setting
    provider: RealProvider

    @property
    def url(self) -> str:
        return self.setting.gate.own.url

    def window(self, who: str) -> Window:
        found = Window.of(self.provider.issuer, self.setting.gate.own.ca_file)
        found.be(who)
        return found

    def sign_in(self, window: Window) -> httpx.Response:
        return window.go(f"{self.url}/console/oidc/corp?next=/console/grants")

    def call(self, token: str, method: str, path: str, **more: Any) -> httpx.Response:
        trusting = ssl.create_default_context(cafile=str(self.setting.gate.own.ca_file))
        return httpx.request(
            method, self.url + path, headers={"Authorization": f"Bearer {token or 'none'}"},
            verify=trusting, trust_env=False, timeout=PATIENCE_S, **more,
        )  # fmt: skip

    def events(self) -> str:
        return recorded_text(self.setting.gate.own.recordings)


@pytest.fixture(scope="module")
def console(pg18: Server, servers: Servers) -> Iterator[Console]:
    database = pg18.new_database("console", template=servers.shop(pg18))
    with real_provider() as provider:
        oidc = {
            "name": "corp", "issuer": provider.issuer, "client_id": "taskgate",
            "client_secret": {"env": "CORP_SECRET"}, "logout": {"returns": True},
        }  # fmt: skip
        with running_gate(
            pg18, database, TASKS, more={"oidc": [oidc]}, secrets={"CORP_SECRET": CLIENT_SECRET}
        ) as gate:
            provider.know(gate.own.url)
            yield Console(Setting(gate, pg18, database), provider)
    pg18.drop_database(database)


def test_a_person_signs_in_to_the_console(console: Console) -> None:
    with console.window("ann") as window:
        page = window.go(f"{console.url}/console/grants")
        assert 'href="/console/oidc/corp?next=/console/grants"' in page.text
        page = console.sign_in(window)
        assert urlsplit(str(page.url)).path == "/console/grants"
        assert "<span>ann</span>" in page.text
        # Neither a token of the gate's nor one of the provider's was ever in an address.
        token = window.client.cookies[COOKIE]
        assert not [url for url in window.seen if "eyJ" in url or token in url]
        assert FLOW not in window.client.cookies
        begun = window.client.get(f"{console.url}/console/oidc/corp")
        kept = begun.headers["set-cookie"].lower()
        for flag in ("secure", "httponly", "samesite=lax", "path=/", "max-age=600"):
            assert flag in kept


def callback(console: Console, window: Window) -> str:
    """Signs in up to the provider's answer, and does not go there."""
    answer = window.client.get(f"{console.url}/console/oidc/corp")
    answer = window.client.get(answer.headers["location"])
    while not answer.headers["location"].startswith(console.url):
        target = answer.headers["location"]
        answer = window.client.get(
            console.provider.issuer + target if target.startswith("/") else target
        )
    return str(answer.headers["location"])


def changed(url: str, **to: str) -> str:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | to
    return parts._replace(query=urlencode(query)).geturl()


def test_a_code_counts_in_the_browser_that_asked_for_it_alone(console: Console) -> None:
    with console.window("eve") as theirs, console.window("ann") as mine:
        stolen = callback(console, theirs)
        # Signing ann in as eve (login CSRF), with and without a sign-in of her own under way.
        assert mine.client.get(stolen).status_code == 401
        own = callback(console, mine)
        code = parse_qs(urlsplit(stolen).query)["code"][0]
        assert mine.client.get(changed(own, code=code)).status_code == 401
        assert COOKIE not in mine.client.cookies
        # A try, even a wrong one, spends the flow.
        assert mine.client.get(own).status_code == 401


@pytest.mark.parametrize(
    "wrong", [{"state": "x"}, {"code": ""}, {"iss": "https://evil.example.com"}, {"error": "no"}]
)
def test_answers_that_were_tampered_with_are_refused(
    console: Console, wrong: dict[str, str]
) -> None:
    with console.window("ann") as window:
        answer = window.client.get(changed(callback(console, window), **wrong))
        assert answer.status_code == 401
        assert COOKIE not in window.client.cookies


def test_an_answer_at_another_providers_address_is_refused(console: Console) -> None:
    with console.window("ann") as window:
        own = callback(console, window)
        answer = window.client.get(own.replace("/corp/", "/other/"))
        assert answer.status_code in (401, 404)
        assert COOKIE not in window.client.cookies


def test_a_commands_code_signs_nobody_in_to_the_console(console: Console) -> None:
    begun = console.call(
        "", "POST", "/v1/oidc/begin",
        json={"provider": "corp", "redirect": "http://127.0.0.1:7777/callback"},
    ).json()  # fmt: skip
    returned = console.provider.come_back(begun["url"], "ann")
    with console.window("ann") as window:
        window.client.cookies.set(FLOW, begun["flow"])
        target = f"{console.url}/console/oidc/corp/callback?{urlsplit(returned).query}"
        assert window.client.get(target).status_code == 401
        flow = {"flow": "x" * 5000}
        window.client.cookies.set(FLOW, flow["flow"])
        assert window.client.get(target).status_code == 401


@pytest.mark.parametrize("where", ["https://evil.example.com", "//evil.example.com", "/v1/me"])
def test_a_sign_in_leads_nowhere_else(console: Console, where: str) -> None:
    with console.window("ann") as window:
        page = window.go(f"{console.url}/console/oidc/corp?{urlencode({'next': where})}")
        assert str(page.url) == f"{console.url}/console/approvals"


def until_cut(session: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Asks on until the session ends."""
    eventually(lambda: session.execute("SELECT 1") is None, "it goes on")


def test_signing_out_ends_it_at_the_provider_and_there_ends_everything(console: Console) -> None:
    with ExitStack() as stack:
        window, elsewhere = (stack.enter_context(console.window("ann")) for _ in range(2))
        page = console.sign_in(window)
        console.sign_in(elsewhere)
        token, other = (str(w.client.cookies[COOKIE]) for w in (window, elsewhere))
        asked = {"task": "report", "reason": "a look"}
        grant, kept = (
            console.call(one, "POST", "/v1/grants", json=asked).json() for one in (token, other)
        )
        mine = stack.enter_context(console.setting.connect("report", grant["token"]))
        theirs = stack.enter_context(console.setting.connect("report", kept["token"]))
        page = window.submit(page, 0)
        # The provider asks whether it is to sign out of everything.
        assert str(page.url).startswith(f"{console.provider.issuer}/session/end?")
        assert "id_token_hint=" in str(page.url)
        page = window.submit(page, 0, logout="yes")
        assert str(page.url).startswith(f"{console.url}/console/login")
        with pytest.raises(psycopg.Error, match="corp signed them out"):
            until_cut(mine)
        assert console.call(token, "GET", "/v1/me").status_code == 401
        # Another session of the same person at the provider goes on.
        assert theirs.execute("SELECT 1").fetchone() == (1,)
        assert console.call(other, "GET", "/v1/me").status_code == 200
        eventually(lambda: '"reason":"corp signed them out"' in console.events())


def test_a_logout_ends_what_would_renew_the_sign_in(console: Console) -> None:
    begun = console.call(
        "", "POST", "/v1/oidc/begin",
        json={"provider": "corp", "redirect": "http://127.0.0.1:7777/callback"},
    ).json()  # fmt: skip
    with console.window("ann") as window:
        answer = window.client.get(begun["url"])
        while not answer.headers["location"].startswith("http://127.0.0.1:7777"):
            target = answer.headers["location"]
            answer = window.client.get(
                console.provider.issuer + target if target.startswith("/") else target
            )
        got = {k: v[0] for k, v in parse_qs(urlsplit(answer.headers["location"]).query).items()}
        signed_in = console.call(
            "", "POST", "/v1/oidc/finish", json={"flow": begun["flow"], **got}
        ).json()
        token = signed_in["token"]
        assert console.call(token, "GET", "/v1/me").status_code == 200
        left = console.call("", "POST", "/v1/oidc/logout", json={"leave": signed_in["leave"]})
        assert json.loads(left.text)["url"].startswith(console.provider.issuer)
        page = window.go(left.json()["url"])
        window.submit(page, 0, logout="yes")
        assert console.call(token, "GET", "/v1/me").status_code == 401
