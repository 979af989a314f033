"""Signing in at a SAML provider: what a good response gives, and what belongs together."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from lxml import etree

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.names import ASSERTION, SAML, XENC
from taskgate.identity.saml.sign_in import challenge_of
from taskgate.model.authentication import SignInDemand
from taskgate.model.errors import BadConfig, NotFound
from taskgate.model.limits import SAML_CODE_S
from tests.identity.saml.around import OWN, Around, around
from tests.identity.saml.issuing import (
    ACS,
    AUDIENCE,
    PASSWORD,
    encrypted,
    key,
    message_in,
    posted,
    relay_in,
)
from tests.store.places import Place

REDIRECT = "http://127.0.0.1:4242/callback"


async def test_a_signed_assertion_tells_who_it_is(corp: Around) -> None:
    asked = await corp.ask()
    found = await corp.finish(asked, corp.idp.signed(asked.request, groups=["analysts", "dba"]))
    identity = found.identity
    assert (identity.key, identity.method) == ("corp:ann", "saml")
    assert identity.groups == {"corp/analysts", "corp/dba"}
    assert identity.authenticated_at == corp.clock.now()
    shown = identity.authentication
    assert (shown.acr, shown.amr, shown.auth_time) == (
        PASSWORD,
        frozenset({"pwd"}),
        corp.clock.now(),
    )
    assert len(shown.session) == 64
    assert (found.lasts_s, found.next) == (3600.0, "/console/grants")


async def test_a_signature_of_the_response_covers_its_assertion(corp: Around) -> None:
    asked = await corp.ask()
    root = corp.idp.response(asked.request)
    corp.idp.sign(root)
    assert (await corp.finish(asked, etree.tostring(root))).identity.key == "corp:ann"


async def test_both_may_be_signed(corp: Around) -> None:
    asked = await corp.ask()
    root = corp.idp.response(asked.request)
    corp.idp.sign(root.find(ASSERTION))
    corp.idp.sign(root)
    assert (await corp.finish(asked, etree.tostring(root))).identity.key == "corp:ann"


async def test_an_encrypted_assertion_is_opened(corp: Around) -> None:
    asked = await corp.ask()
    inner = etree.fromstring(corp.idp.assertion(asked.request))
    corp.idp.sign(inner)
    sealed = encrypted(etree.tostring(inner), key(OWN).public_key())
    root = corp.idp.response(asked.request, sealed)
    assert (await corp.finish(asked, etree.tostring(root))).identity.key == "corp:ann"


async def test_cbc_is_opened_inside_a_signed_response(corp: Around) -> None:
    asked = await corp.ask()
    plain = corp.idp.assertion(asked.request).encode()
    sealed = encrypted(plain, key(OWN).public_key(), cipher=XENC + "aes128-cbc")
    root = corp.idp.response(asked.request, sealed)
    corp.idp.sign(root)
    assert (await corp.finish(asked, etree.tostring(root))).identity.key == "corp:ann"


async def test_the_request_says_what_it_must(corp: Around) -> None:
    sent = await corp.sign_ins.start_console("corp", "")
    assert sent.url.startswith("https://login.example.com/sso?t=1&SAMLRequest=")
    assert {"SigAlg", "Signature"} <= set(parse_qs(urlsplit(sent.url).query))
    root = message_in(sent.url)
    assert root.get("AssertionConsumerServiceURL") == ACS
    assert root.get("Destination") == "https://login.example.com/sso?t=1"
    assert root.findtext("{urn:oasis:names:tc:SAML:2.0:assertion}Issuer") == AUDIENCE


async def test_a_command_gets_its_sign_in_by_the_verifier_alone(corp: Around) -> None:
    begun = await corp.sign_ins.begin("corp", REDIRECT, challenge_of("v" * 43))
    sent = await corp.sign_ins.start(parse_qs(urlsplit(begun.url).query)["flow"][0])
    request = message_in(sent.url).get("ID", "")
    relay = parse_qs(urlsplit(sent.url).query)["RelayState"][0]

    async def code() -> str:
        done = await corp.sign_ins.arrive(
            "corp", posted(corp.idp.signed(request)), relay, sent.cookie
        )
        assert done.url.startswith(REDIRECT + "?")
        query = parse_qs(urlsplit(done.url).query)
        assert query["state"] == [begun.state]
        return query["code"][0]

    got = await code()
    assert (await corp.sign_ins.finish(got, "v" * 43)).identity.key == "corp:ann"
    with pytest.raises(TokenRefused):
        await corp.sign_ins.finish(got, "v" * 43)


async def test_a_stolen_code_is_of_no_use(corp: Around) -> None:
    asked = await corp.ask()
    sent = await corp.arrive(asked, corp.idp.signed(asked.request))
    code = parse_qs(urlsplit(sent.url).query)["code"][0]
    with pytest.raises(TokenRefused) as caught:
        await corp.sign_ins.finish(code, "w" * 43)
    assert "another sign-in" in caught.value.why
    with pytest.raises(TokenRefused) as caught:
        await corp.sign_ins.finish_console(code, sent.cookie)
    assert "used before" in caught.value.why, "a guess costs the code"


@pytest.mark.cap("SAML_CODE_S")
async def test_a_code_lasts_a_minute(corp: Around) -> None:
    asked = await corp.ask()
    sent = await corp.arrive(asked, corp.idp.signed(asked.request))
    code = parse_qs(urlsplit(sent.url).query)["code"][0]
    corp.clock.pass_s(SAML_CODE_S)
    with pytest.raises(TokenRefused):
        await corp.sign_ins.finish_console(code, sent.cookie)


async def test_a_sign_in_ends_with_the_providers_session(corp: Around) -> None:
    asked = await corp.ask()
    now = corp.clock.now()
    found = await corp.finish(asked, corp.idp.signed(asked.request, session=now + 300))
    assert found.lasts_s == 360.0, "the clocks' difference included"


async def test_when_the_person_proved_themselves_is_kept(corp: Around) -> None:
    asked = await corp.ask()
    earlier = corp.clock.now() - 7200
    found = await corp.finish(asked, corp.idp.signed(asked.request, authenticated=earlier))
    assert found.identity.authenticated_at == earlier
    assert found.identity.authentication.auth_time == earlier


async def test_a_clock_that_is_ahead_gains_nothing(corp: Around) -> None:
    asked, now = await corp.ask(), corp.clock.now()
    found = await corp.finish(asked, corp.idp.signed(asked.request, authenticated=now + 59))
    assert found.identity.authenticated_at == now


async def test_a_sign_in_must_be_finished_in_time(corp: Around) -> None:
    asked = await corp.ask()
    corp.clock.pass_s(601)
    assert "took too long" in await corp.refusal(asked, corp.idp.signed(asked.request))


@pytest.mark.parametrize(
    "redirect",
    ["https://evil.example/callback", "http://127.0.0.1:4242/other", "http://localhost:1/callback",
     "http://127.0.0.1:4242@evil.example/callback", "http://127.0.0.1:99999/callback",
     "http://127.0.0.1:4242/callback?x"],
    ids=["elsewhere", "path", "a-name", "user-info", "port", "query"],
)  # fmt: skip
async def test_a_command_is_sent_back_to_loopback_only(corp: Around, redirect: str) -> None:
    with pytest.raises(BadConfig):
        await corp.sign_ins.begin("corp", redirect, challenge_of("v"))


async def test_an_unknown_provider_is_said_with_those_there_are(corp: Around) -> None:
    with pytest.raises(NotFound) as caught:
        await corp.sign_ins.begin("crop", REDIRECT, challenge_of("v"))
    assert "corp" in caught.value.hint


async def test_a_failed_sign_in_is_told_to_the_command_that_waits(corp: Around) -> None:
    begun = await corp.sign_ins.begin("corp", REDIRECT, challenge_of("v"))
    sent = await corp.sign_ins.start(parse_qs(urlsplit(begun.url).query)["flow"][0])
    back = corp.sign_ins.gave_up(sent.cookie)
    assert back.startswith(REDIRECT + "?error=access_denied")
    assert corp.sign_ins.gave_up("x") == ""
    assert corp.sign_ins.gave_up((await corp.ask()).cookie) == "", "nobody listens for a console"


async def test_the_way_of_signing_in_that_was_asked_for_is_demanded(
    place: Place, tmp_path: Path
) -> None:
    mfa = "https://refeds.org/profile/mfa"
    async with around(place, tmp_path, contexts=(mfa,)) as corp:
        sent = await corp.sign_ins.start_console("corp", "")
        assert mfa in etree.tostring(message_in(sent.url)).decode()
        asked = await corp.ask()
        assert "ways asked for" in await corp.refusal(asked, corp.idp.signed(asked.request))
        asked = await corp.ask()
        found = await corp.finish(asked, corp.idp.signed(asked.request, context=mfa))
        assert found.identity.authentication.acr == mfa


MFA = "https://refeds.org/profile/mfa"


async def asking(corp: Around, *, fresh: bool = False, **demand: Any) -> tuple[str | None, str]:
    """What the provider is asked for a task's sake: ForceAuthn, and the classes."""
    begun = await corp.sign_ins.begin(
        "corp", REDIRECT, challenge_of("v"), fresh=fresh, demand=SignInDemand(**demand)
    )
    sent = await corp.sign_ins.start(parse_qs(urlsplit(begun.url).query)["flow"][0])
    root = message_in(sent.url)
    classes = [one.text or "" for one in root.iter(f"{{{SAML}}}AuthnContextClassRef")]
    return root.get("ForceAuthn"), " ".join(classes)


async def test_a_task_s_demand_is_asked_of_the_provider(place: Place, tmp_path: Path) -> None:
    async with around(place, tmp_path, mfa_contexts=(MFA,), contexts=(PASSWORD,)) as corp:
        assert await asking(corp) == (None, PASSWORD)
        assert await asking(corp, fresh=True) == ("true", PASSWORD)
        assert await asking(corp, mfa=True) == (None, MFA)
        assert await asking(corp, within_s=900.0) == ("true", PASSWORD)
        assert await asking(corp, acr=("urn:gold", "urn:silver")) == (None, "urn:gold urn:silver")
        for bad in ("a b", "", "\0", "x" * 256):
            with pytest.raises(BadConfig):
                await asking(corp, acr=(bad,))


async def test_without_a_class_for_it_a_second_factor_is_asked_by_a_new_sign_in(
    corp: Around,
) -> None:
    assert await asking(corp, mfa=True) == ("true", "")


async def test_a_class_that_stands_for_it_is_a_second_factor(place: Place, tmp_path: Path) -> None:
    own = "urn:corp:two-factors"
    async with around(place, tmp_path, mfa_contexts=(own,)) as corp:
        told = ((PASSWORD, False), ("urn:corp:other", False), (MFA, True), (own, True))
        for context, strong in told:
            asked = await corp.ask()
            found = await corp.finish(asked, corp.idp.signed(asked.request, context=context))
            assert found.identity.authentication.multi_factor is strong


async def test_what_a_command_asks_for_widens_nothing(place: Place, tmp_path: Path) -> None:
    """Anybody may begin a sign-in; what the gateway demands of all of them stands."""
    async with around(place, tmp_path, contexts=(MFA,)) as corp:
        begun = await corp.sign_ins.begin(
            "corp", REDIRECT, challenge_of("v"), demand=SignInDemand(acr=(PASSWORD,))
        )
        sent = await corp.sign_ins.start(parse_qs(urlsplit(begun.url).query)["flow"][0])
        request = message_in(sent.url).get("ID", "")
        with pytest.raises(TokenRefused) as caught:
            await corp.sign_ins.arrive(
                "corp", posted(corp.idp.signed(request)), relay_in(sent.url), sent.cookie
            )
        assert "ways asked for" in caught.value.why


async def test_a_person_may_be_named_by_an_attribute(place: Place, tmp_path: Path) -> None:
    async with around(place, tmp_path, subject="groups") as corp:
        asked = await corp.ask()
        data = corp.idp.signed(asked.request, groups=["ann.l"], subject="opaque-1")
        assert (await corp.finish(asked, data)).identity.key == "corp:ann.l"
        asked = await corp.ask()
        two = corp.idp.signed(asked.request, groups=["ann.l", "root"])
        assert "not one value" in await corp.refusal(asked, two)


async def test_a_node_finishes_what_another_began(
    place: Place, tmp_path: Path, corp: Around
) -> None:
    async with around(place, tmp_path, corp.clock) as other:
        asked = await corp.ask()
        sent = await other.arrive(asked, corp.idp.signed(asked.request))
        code = parse_qs(urlsplit(sent.url).query)["code"][0]
        assert (await corp.sign_ins.finish_console(code, sent.cookie)).provider == "corp"


async def test_nobody_asked_is_refused_unless_switched_on(place: Place, tmp_path: Path) -> None:
    async with around(place, tmp_path, unsolicited=True) as corp:
        asked = replace(await corp.ask(), cookie="", relay="https://evil.example/")
        found = await corp.finish(asked, corp.idp.signed(""))
        assert found.identity.key == "corp:ann"
        assert found.identity.authenticated_at == corp.clock.now() - 60
        assert found.next == "", "the provider does not say where to go"
