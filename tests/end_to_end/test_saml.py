"""People whom a SAML provider vouches for, through a whole gate to a real database: by the command
line's browser and by the console, with SimpleSAMLphp on the other side."""

import html
import json
import re
import sys
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from lxml import etree

from taskgate.identity.saml.names import ENCRYPTED_ASSERTION, SIGNATURE
from tests.end_to_end.saml_corp import MFA, Corp, corp_gate
from tests.saml_provider.running import Browser, Form, RealProvider, form_of
from tests.servers import Server, Servers

SHA1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
SHA512 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"
QUERY = (
    sys.executable, "-c",
    "import psycopg, sys; print(psycopg.connect().execute(sys.argv[1]).fetchone()[0])",
)  # fmt: skip


@pytest.fixture(scope="module")
def corp(pg18: Server, servers: Servers) -> Iterator[Corp]:
    with corp_gate(pg18, servers) as found:
        yield found


@pytest.fixture
def browser(corp: Corp) -> Iterator[Browser]:
    made = corp.browser()
    yield made
    made.close()


def test_a_person_signs_in_by_the_command_line_and_works(corp: Corp) -> None:
    done = corp.cli("ann", "login", "--saml", "corp")
    assert done.returncode == 0, done.stderr
    assert "as corp:ann" in done.stderr
    me = json.loads(corp.cli("ann", "whoami", "--json").stdout)
    assert (me["key"], me["groups"]) == ("corp:ann", ["corp/analysts"])
    ran = corp.cli(
        "ann", "exec", "report", "--reason", "a look", "--",
        *QUERY, "SELECT count(*) > 0 FROM shop.orders",
    )  # fmt: skip
    assert (ran.returncode, ran.stdout.strip()) == (0, "True"), ran.stderr
    token = corp.setting.gate.own.grant("ann", "report")
    done = corp.setting.psql("report", "SELECT count(*) > 0 FROM shop.orders", token=token)
    assert done.stdout.strip() == "t", done.stderr
    refused = corp.setting.psql("report", "SELECT * FROM shop.customers", token=token)
    assert "42501" in refused.stderr
    assert '"method":"saml"' in corp.events()


def test_an_unknown_provider_is_said_with_those_there_are(corp: Corp) -> None:
    done = corp.cli("ann", "login", "--saml", "crop")
    assert done.returncode == 5
    assert "corp, gone, portal" in done.stderr
    assert corp.cli("ann", "login", "--saml", "corp", "--oidc", "x").returncode == 2


def test_a_provider_whose_metadata_cannot_be_had_is_told_from_a_refusal(corp: Corp) -> None:
    done = corp.cli("ann", "login", "--saml", "gone")
    assert done.returncode
    assert "the identity provider urn:gone cannot be used now" in done.stderr
    assert "sessions that are open go on" in done.stderr


def test_a_task_that_wants_a_second_factor_gets_it_by_a_new_sign_in(corp: Corp) -> None:
    asked = ("request", "strong", "--reason", "a look")
    assert corp.cli("ann", "login", "--saml", "corp").returncode == 0
    done = corp.cli("ann", *asked)
    assert done.returncode
    assert "second factor" in done.stderr
    corp.provider.set_context(MFA)
    try:
        done = corp.cli("ann", *asked, TASKGATE_STEP_UP="yes")
    finally:
        corp.provider.set({})
    assert done.returncode == 0, done.stderr
    me = json.loads(corp.cli("ann", "whoami", "--json").stdout)
    assert (me["key"], me["acr"], me["amr"]) == ("corp:ann", MFA, ["mfa"])


def test_a_command_signs_out_at_the_provider_too(corp: Corp) -> None:
    assert corp.cli("ann", "login", "--saml", "corp").returncode == 0
    # Only where the provider leads to: another browser than the one that signed in.
    done = corp.cli("ann", "logout", "--everywhere", BROWSER="true")
    assert done.returncode == 0, done.stderr
    assert f"{corp.provider.base}/saml2/idp/SingleLogoutService.php?SAMLRequest=" in done.stderr
    assert corp.cli("ann", "whoami").returncode == 3


def test_a_sign_in_that_the_gate_refuses_ends_the_command_at_once(corp: Corp) -> None:
    corp.provider.set({"saml20.sign.response": False, "saml20.sign.assertion": False})
    try:
        done = corp.cli("ann", "login", "--saml", "corp")
    finally:
        corp.provider.set({})
    assert done.returncode == 3
    assert "access_denied" in done.stderr
    assert "neither the response nor its assertion is signed" in corp.events()


def into_the_console(corp: Corp, browser: Browser, who: str = "ann") -> httpx.Response:
    """Signs in there; what the gateway answers to what the provider said."""
    return browser.send(browser.sign_in(f"{corp.url}/console/saml/corp?next=/console/grants", who))


def test_a_person_signs_in_to_the_console(corp: Corp, browser: Browser) -> None:
    page = browser.open(f"{corp.url}/console/login?next=/console/grants")
    assert 'href="/console/saml/corp?next=/console/grants"' in page.text
    page = into_the_console(corp, browser)
    assert page.status_code == 200, page.text
    assert 'content="0;url=/console/grants"' in page.text
    cookies = {cookie.name: cookie for cookie in browser.client.cookies.jar}
    assert set(cookies) >= {"__Host-taskgate"}
    assert "__Host-taskgate-saml" not in cookies
    page = browser.open(f"{corp.url}/console/grants")
    assert "ann" in page.text
    assert "My grants" in page.text


def test_the_cookie_of_a_sign_in_is_sealed_and_for_this_host_alone(
    corp: Corp, browser: Browser
) -> None:
    answer = browser.client.get(f"{corp.url}/console/saml/corp")
    assert answer.status_code == 303
    said = answer.headers["set-cookie"]
    for word in ("__Host-taskgate-saml=", "HttpOnly", "Secure", "SameSite=none", "Path=/"):
        assert word in said
    assert "callback" not in said
    assert "Domain" not in said


@pytest.mark.parametrize("next_page", ["https://evil.example/", "//evil.example", "/v1/me", "x"])
def test_a_sign_in_leads_nowhere_else(corp: Corp, browser: Browser, next_page: str) -> None:
    form = browser.sign_in(f"{corp.url}/console/saml/corp?next={quote(next_page, safe='')}", "ann")
    assert 'content="0;url=/console/approvals"' in browser.send(form).text


def test_neither_responses_nor_codes_are_in_logs_and_recordings(
    corp: Corp, browser: Browser
) -> None:
    form = browser.sign_in(f"{corp.url}/console/saml/corp", "ann")
    answer = browser.client.post(form.action, data=form.fields)
    code = answer.headers["location"].partition("code=")[2]
    assert len(code) > 40
    assert browser.open(f"{corp.url}{answer.headers['location']}").status_code == 200
    own = corp.setting.gate.own
    said = own.log.read_text() + corp.events()
    database = own.state / "taskgate.db"
    kept = database.read_bytes() + database.with_name("taskgate.db-wal").read_bytes()
    for secret in (code, form.fields["SAMLResponse"][200:400], form.fields["RelayState"]):
        assert secret not in said
        assert secret.encode() not in kept


@pytest.mark.parametrize(
    ("options", "shape", "taken"),
    [
        ({"saml20.sign.response": False}, "Assertion", True),
        ({"saml20.sign.assertion": False}, "Response", True),
        ({"assertion.encryption": True}, "Response encrypted", True),
        ({"assertion.encryption": True, "saml20.sign.response": False}, "encrypted", False),
        ({"saml20.sign.response": False, "saml20.sign.assertion": False}, "", False),
        ({"signature.algorithm": SHA1}, "Response Assertion", False),
        ({"signature.algorithm": SHA512}, "Response Assertion", True),
    ],
    ids=["assertion-signed", "response-signed", "encrypted", "cbc-in-an-unsigned-response",
         "unsigned", "sha-1", "sha-512"],
)  # fmt: skip
def test_what_the_provider_signs_and_encrypts(
    corp: Corp, browser: Browser, options: dict[str, object], shape: str, taken: bool
) -> None:
    corp.provider.set({"saml20.sign.assertion": True, **options})
    try:
        form = browser.sign_in(f"{corp.url}/console/saml/corp", "ann")
    finally:
        corp.provider.set({})
    root = etree.fromstring(form.message)
    signed = [one.getparent() for one in root.iter(SIGNATURE)]
    found = [etree.QName(one).localname for one in signed if one is not None]
    found += ["encrypted"] if root.find(ENCRYPTED_ASSERTION) is not None else []
    assert found == shape.split(), "the provider did what the case is about"
    page = browser.send(form)
    assert (page.status_code == 200) == taken, page.text
    assert ("__Host-taskgate" in browser.client.cookies) == taken
    if not taken:
        assert page.status_code == 401
        assert "was not accepted" in page.text


def test_a_response_is_good_once(corp: Corp, browser: Browser) -> None:
    form = browser.sign_in(f"{corp.url}/console/saml/corp", "ann")
    cookies = dict(browser.client.cookies)
    assert browser.send(form).status_code == 200
    for name, value in cookies.items():
        browser.client.cookies.set(name, value)
    assert browser.send(form).status_code == 401


def test_a_response_in_another_browser_signs_nobody_in(corp: Corp, browser: Browser) -> None:
    form = browser.sign_in(f"{corp.url}/console/saml/corp", "ann")
    other = corp.browser()
    assert other.send(form).status_code == 401
    other.open(f"{corp.url}/console/saml/corp")
    assert other.send(form).status_code == 401
    other.close()


def test_the_console_signs_the_person_out_at_the_provider_too(corp: Corp, browser: Browser) -> None:
    into_the_console(corp, browser)
    page = browser.open(f"{corp.url}/console/grants")
    fields = form_of(page).fields
    page = browser.client.post(f"{corp.url}/console/logout", data=fields)
    assert page.status_code == 200
    onward = re.search(r'content="0;url=([^"]+)"', page.text)
    assert onward
    target = html.unescape(onward.group(1))
    assert target.startswith(corp.provider.base)
    page = browser.open(target)
    assert str(page.url).startswith(f"{corp.url}/saml/corp/slo"), page.text[:3000]
    assert "signed out here, and at your identity provider" in page.text
    page = browser.open(f"{corp.url}/console/saml/corp")
    assert 'name="password"' in page.text, "the provider's session is over"


def test_the_provider_signs_the_person_out_of_the_console_and_of_commands(
    corp: Corp, browser: Browser
) -> None:
    into_the_console(corp, browser)
    token = str(browser.client.cookies["__Host-taskgate"])
    with corp.api(token) as api:
        asked = api.post("/v1/grants", json={"task": "report", "reason": "a look"})
    grant = asked.json()["token"]
    assert corp.setting.psql("report", "SELECT 1", token=grant).returncode == 0
    page = browser.open(
        f"{corp.provider.base}/saml2/idp/SingleLogoutService.php?ReturnTo={corp.url}/console/login"
    )
    assert str(page.url).startswith(f"{corp.url}/console/login"), page.text[:3000]
    page = browser.open(f"{corp.url}/console/grants")
    assert "/console/login" in str(page.url), "the strict cookie is still there; the sign-in is not"
    assert "corp signed them out" in corp.events()
    assert corp.setting.psql("report", "SELECT 1", token=grant).returncode, "with its grants"


def test_a_sign_in_that_the_provider_begins_is_refused_unless_switched_on(
    corp: Corp, browser: Browser
) -> None:
    def begun_by(provider: RealProvider, name: str) -> httpx.Response:
        own = quote(f"{corp.url}/saml/{name}/metadata", safe="")
        address = f"{provider.base}/saml2/idp/SSOService.php?spentityid={own}"
        return browser.send(browser.sign_in(f"{address}&RelayState=https://evil.example/", "ann"))

    assert begun_by(corp.provider, "corp").status_code == 401
    assert "__Host-taskgate" not in browser.client.cookies
    page = begun_by(corp.portal, "portal")
    assert page.status_code == 200, page.text
    assert 'content="0;url=/console/approvals"' in page.text
    assert "evil" not in page.text
    page = browser.open(f"{corp.url}/console/grants")
    assert "portal:ann" in page.text or "ann" in page.text


def test_one_provider_does_not_speak_for_another(corp: Corp, browser: Browser) -> None:
    form = browser.sign_in(f"{corp.url}/console/saml/corp", "ann")
    moved = Form(form.action.replace("/saml/corp/", "/saml/portal/"), form.fields)
    assert browser.send(moved).status_code == 401


def test_groups_are_mapped_as_configured(corp: Corp) -> None:
    assert corp.cli("ann-portal", "login", "--saml", "portal").returncode == 0
    me = json.loads(corp.cli("ann-portal", "whoami", "--json").stdout)
    assert (me["key"], me["groups"]) == ("portal:ann", ["readers"])


def test_whoever_was_offboarded_does_not_come_back_by_the_providers_session(
    corp: Corp, browser: Browser
) -> None:
    assert corp.cli("eve", "login", "--saml", "corp").returncode == 0
    form = browser.sign_in(f"{corp.url}/console/saml/corp", "eve")
    left = corp.setting.gate.own.command("admin", "offboard", "corp:eve", "--why", "left")
    assert left.returncode == 0, left.stderr
    assert corp.cli("eve", "whoami").returncode == 3
    assert browser.send(form).status_code == 401
    assert "__Host-taskgate" not in browser.client.cookies
    assert corp.cli("eve", "login", "--saml", "corp").returncode == 3


def test_while_the_provider_is_down_sign_ins_go_on(corp: Corp) -> None:
    assert corp.cli("ann", "login", "--saml", "corp").returncode == 0
    token = corp.setting.gate.own.grant("ann", "report")
    with corp.provider.down():
        assert corp.cli("ann", "whoami").returncode == 0
        done = corp.setting.psql("report", "SELECT count(*) > 0 FROM shop.orders", token=token)
        assert done.stdout.strip() == "t", done.stderr
