"""Ways round the console: forged forms, framed pages, scripts in what strangers wrote."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.api.gate import Gate, password_of, start_gate

COOKIE = "__Host-taskgate"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    running = asyncio.run(start_gate(tmp_path_factory.mktemp("gate")))
    yield running
    running.stop()


def token_in(page: httpx.Response) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page.text)
    assert found, page.text
    return found[1]


@contextmanager
def browser(gate: Gate, who: str) -> Iterator[httpx.Client]:
    """Signed in to the console the way a person is."""
    with gate.client() as client:
        form = {
            "name": who,
            "password": password_of(who),
            "form_token": token_in(client.get("/console/login")),
        }
        answer = client.post("/console/login", data=form)
        assert answer.status_code == 303, answer.text
        yield client


async def test_a_person_signs_in_looks_and_approves(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    with browser(gate, "lea") as client:
        assert held in client.get("/console/approvals").text
        page = client.get(f"/console/approvals/{held}")
        digest = re.search(r'name="digest" value="([0-9a-f]{64})"', page.text)
        assert digest
        form = {"form_token": token_in(page), "digest": digest[1], "scope": "once"}
        answer = client.post(f"/console/approvals/{held}/approve", data=form)
        assert "Approved" in answer.text
    assert gate.call("lea", "GET", f"/v1/approvals/{held}").json()["state"] == "approved"


def test_the_cookie_is_out_of_reach_and_of_this_host_alone(gate: Gate) -> None:
    with gate.client() as client:
        form = {
            "name": "lou", "password": password_of("lou"),
            "form_token": token_in(client.get("/console/login")),
        }  # fmt: skip
        cookies = client.post("/console/login", data=form).headers.get_list("set-cookie")
    cookie = next(one for one in cookies if one.startswith(COOKIE + "="))
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "secure", "samesite=strict", "path=/"} <= parts
    assert not [part for part in parts if part.startswith("domain")]


async def test_a_form_from_elsewhere_decides_nothing(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    path = f"/console/approvals/{held}/approve"
    with browser(gate, "lea") as client, browser(gate, "lou") as other:
        page = client.get(f"/console/approvals/{held}")
        digest = re.search(r'name="digest" value="([0-9a-f]{64})"', page.text)
        assert digest
        right, others = token_in(page), token_in(other.get("/console/approvals"))
        form = {"digest": digest[1], "scope": "once"}
        for forged in ("", "0" * 64, others, right[:-1], right.upper()):
            answer = client.post(path, data={**form, "form_token": forged})
            assert answer.status_code == 403, forged
        for site in ("cross-site", "same-site", "none"):
            headers = {"Sec-Fetch-Site": site}
            answer = client.post(path, data={**form, "form_token": right}, headers=headers)
            assert answer.status_code == 403, site
        for origin in ("https://elsewhere.example", "null", "https://localhost.elsewhere.example"):
            headers = {"Origin": origin}
            answer = client.post(path, data={**form, "form_token": right}, headers=headers)
            assert answer.status_code == 403, origin
        answer = client.get(path, params={**form, "form_token": right})
        assert answer.status_code == 405
    assert gate.call("lea", "GET", f"/v1/approvals/{held}").json()["state"] == "waiting"


async def test_every_form_wants_its_token(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    grant = gate.grant()
    form = {"digest": "0" * 64, "reason": "x", "scope": "once"}
    for who, path in (
        ("lea", f"/console/approvals/{held}/deny"),
        ("lea", f"/console/approvals/{held}/approve"),
        ("ann", f"/console/grants/{grant}/revoke"),
        ("adm", "/console/sessions/s-0000000000000/terminate"),
        ("ann", "/console/logout"),
    ):
        with browser(gate, who) as client:
            assert client.post(path, data=form).status_code == 403, path
            assert client.get("/console/approvals").status_code == 200, "still signed in"
    assert grant in [one["id"] for one in gate.call("ann", "GET", "/v1/grants").json()]


def test_nobody_is_signed_in_as_somebody_else_from_another_site(gate: Gate) -> None:
    with gate.client() as client:
        form = {"name": "ann", "password": password_of("ann")}
        assert client.post("/console/login", data=form).status_code == 403
        form["form_token"] = "0" * 64
        assert client.post("/console/login", data=form).status_code == 403
        form["form_token"] = token_in(client.get("/console/login"))
        headers = {"Sec-Fetch-Site": "cross-site"}
        assert client.post("/console/login", data=form, headers=headers).status_code == 403
        assert COOKIE not in client.cookies


@pytest.mark.parametrize(
    "where",
    [
        "https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example",
        "/console/..//elsewhere.example", "javascript:alert(1)", "/v1/me", "\t//x", "console/x",
        "/console/approvals\r\nSet-Cookie: a=b",
    ],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(gate: Gate, where: str) -> None:
    with gate.client() as client:
        page = client.get("/console/login", params={"next": where})
        form = {
            "name": "rep", "password": password_of("rep"), "form_token": token_in(page),
            "next": where,
        }  # fmt: skip
        answer = client.post("/console/login", data=form)
        assert answer.headers["location"] == "/console/approvals"
        assert "a" not in client.cookies


async def test_what_strangers_wrote_is_text_and_nothing_else(gate: Gate) -> None:
    grant = gate.call(
        "ann", "POST", "/v1/grants",
        {"task": "sales-report", "reason": "</dd><script>alert(1)</script><img src=x onerror=y>"},
    ).json()["grant"]["id"]  # fmt: skip
    held = await gate.held(
        grant,
        "UPDATE shop.orders SET note = '</pre><script>alert(2)</script>' -- <b>\u202e\x1b[2J\x00"
        + "\n" * 500 + "; DROP TABLE shop.orders",
    )  # fmt: skip
    with browser(gate, "lea") as client:
        page = client.get(f"/console/approvals/{held}")
        listed = client.get("/console/approvals").text
    for text in (page.text, listed):
        assert "<script" not in text
        assert "<img" not in text
        assert "\u202e" not in text
        assert "\x1b" not in text
        assert "\x00" not in text
    assert "\\u{202e}" in page.text
    assert "500 line ends" in page.text
    assert "DROP" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe-inline" not in policy


def test_no_page_can_be_framed_cached_or_scripted(gate: Gate) -> None:
    with browser(gate, "adm") as client:
        for path in ("approvals", "grants", "sessions", "login", "approvals/a-0000000000000"):
            answer = client.get(f"/console/{path}")
            assert answer.headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"
            # The sign-in page has one script, of the gate's own: passkeys need it.
            own = '<script src="/console/passkeys.js" defer></script>' if path == "login" else ""
            assert answer.text.count("<script") == bool(own)
            assert own in answer.text
            policy = answer.headers["content-security-policy"]
            assert ("script-src 'self'" in policy) == bool(own)
            assert "unsafe" not in policy
            assert " on" + "click=" not in answer.text
            assert "style=" not in answer.text


def test_a_page_shows_a_person_only_what_the_api_would(gate: Gate) -> None:
    grant = gate.grant("ann")
    with browser(gate, "bob") as client:
        token = token_in(client.get("/console/grants"))
        assert grant not in client.get("/console/grants").text
        answer = client.post(f"/console/grants/{grant}/revoke", data={"form_token": token})
        assert answer.status_code == 404
        answer = client.post(
            "/console/sessions/s-0000000000000/terminate", data={"form_token": token}
        )
        assert answer.status_code == 403
    assert grant in gate.call("ann", "GET", "/v1/grants").text


def test_a_link_from_elsewhere_still_finds_who_is_signed_in(gate: Gate) -> None:
    # A strict cookie is not sent along a link from another site; the page then asks for itself.
    with gate.client() as client:
        answer = client.get("/console/approvals", headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 200
        assert 'http-equiv="refresh"' in answer.text
        answer = client.get("/console/approvals", headers={"Sec-Fetch-Site": "same-origin"})
        assert answer.headers["location"].startswith("/console/login")


def test_signing_out_of_the_console_ends_the_token(gate: Gate) -> None:
    with browser(gate, "rev") as client:
        stolen = client.cookies[COOKIE]
        token = token_in(client.get("/console/approvals"))
        assert client.post("/console/logout", data={"form_token": token}).status_code == 303
    with gate.client() as client:
        headers = {"Authorization": f"Bearer {stolen}"}
        assert client.get("/v1/me", headers=headers).status_code == 401
