"""The console and SAML in a real browser, which alone knows what cookies go along across sites.

The gateway is at `localhost` and the provider at `127.0.0.1`: two sites, as in life.
"""

from collections.abc import Iterator

import pytest

from tests.chromium import Chromium, chromium
from tests.end_to_end.saml_corp import Corp, corp_gate
from tests.servers import Server, Servers


@pytest.fixture(scope="module")
def corp(pg18: Server, servers: Servers) -> Iterator[Corp]:
    with corp_gate(pg18, servers) as found:
        yield found


@pytest.fixture
def browser() -> Iterator[Chromium]:
    with chromium() as made:
        yield made


def sign_in(browser: Chromium, who: str = "ann") -> None:
    browser.type("input[name=username]", who)
    browser.type("input[name=password]", f"secret-of-{who}")
    browser.click("#submit_button button, button[type=submit]")


def test_a_person_signs_in_to_the_console_and_out_of_it(corp: Corp, browser: Chromium) -> None:
    browser.open(f"{corp.url}/console/grants")
    browser.wait_for(f"{corp.url}/console/login")
    browser.click("a.button")
    browser.wait_for(corp.provider.base)
    sign_in(browser)
    browser.wait_for(f"{corp.url}/console/grants")
    browser.wait_text("My grants")
    cookies = browser.cookies
    assert cookies["__Host-taskgate"]["sameSite"] == "Strict"
    assert "__Host-taskgate-saml" not in cookies
    browser.click("header form button")
    browser.wait_for(f"{corp.url}/saml/corp/slo")
    browser.wait_text("Signed out")
    browser.open(f"{corp.url}/console/saml/corp")
    browser.wait_for(corp.provider.base)
    assert "password" in browser.text.lower(), "signed out there as well"


def test_a_sign_in_from_the_providers_portal_reaches_the_console(
    corp: Corp, browser: Chromium
) -> None:
    browser.open(
        f"{corp.portal.base}/saml2/idp/SSOService.php?spentityid={corp.url}/saml/portal/metadata"
    )
    sign_in(browser)
    browser.wait_for(f"{corp.url}/console/approvals")
    assert browser.cookies["__Host-taskgate"]["httpOnly"]
