"""Single logout: whose sign-ins end, and whose request ends nothing."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from lxml import etree

from taskgate.identity.grants import Grants
from taskgate.identity.logins import Logins
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.logout import Told
from taskgate.identity.saml.names import SAMLP
from taskgate.model.errors import NotAuthenticated
from tests.identity.around import Policies
from tests.identity.saml.around import Around, around
from tests.identity.saml.issuing import SLO, Idp, key, message_in, relay_in
from tests.store.places import Place

BARE = "<samlp:SessionIndex>s1</samlp:SessionIndex>"


@dataclass(slots=True)
class Desk:
    """Signs people in, and out when a provider says so."""

    corp: Around

    async def sign_in(self, subject: str, index: str, **more: object) -> str:
        """The API token of somebody who signs in."""
        asked = await self.corp.ask()
        data = self.corp.idp.signed(asked.request, subject=subject, index=index, **more)
        found = await self.corp.finish(asked, data)
        return (await self.logins.issue(found.identity, found.lasts_s)).token

    @property
    def logins(self) -> Logins:
        return Logins(self.corp.store.logins, self.corp.clock)

    async def there(self, token: str) -> bool:
        try:
            await self.logins.check(token)
        except NotAuthenticated:
            return False
        return True

    async def told(self, query: str) -> Told:
        """What the API does with it."""
        told = await self.corp.logouts.told("corp", query)
        grants = Grants(self.corp.store.grants, Policies(), self.corp.clock)
        for one in told.keys:
            await grants.cut_off(one, "signed out", grants_too=told.grants)
        return told

    async def refusal(self, query: str) -> str:
        with pytest.raises(TokenRefused) as caught:
            await self.told(query)
        return caught.value.why


@pytest.fixture
def desk(corp: Around) -> Desk:
    return Desk(corp)


async def test_a_providers_request_ends_the_session_it_names(desk: Desk) -> None:
    first, second, other = (
        await desk.sign_in("ann", "s1"), await desk.sign_in("ann", "s2"),
        await desk.sign_in("eve", "s1"),
    )  # fmt: skip
    idp = desk.corp.idp
    told = await desk.told(idp.redirected("SAMLRequest", idp.logout_request(), "r1"))
    assert [await desk.there(one) for one in (first, second, other)] == [False, True, True]
    assert (told.provider, told.grants, len(told.keys)) == ("corp", True, 1)
    assert told.answer.startswith("https://login.example.com/slo?SAMLResponse=")
    assert relay_in(told.answer) == "r1"
    answer = message_in(told.answer, "SAMLResponse")
    assert answer.get("InResponseTo", "").startswith("_l")
    assert "status:Success" in etree.tostring(answer).decode()


async def test_a_request_without_a_session_ends_all_of_the_person(desk: Desk) -> None:
    mine = [await desk.sign_in("ann", f"s{n}") for n in range(3)]
    other = await desk.sign_in("eve", "s1")
    idp = desk.corp.idp
    told = await desk.told(idp.redirected("SAMLRequest", idp.logout_request().replace(BARE, "")))
    assert told.keys == ("corp:ann",)
    assert not any([await desk.there(one) for one in mine])
    assert await desk.there(other)


async def test_a_request_without_a_session_tells_nobody_who_is_known_by_an_attribute(
    place: Place, tmp_path: Path
) -> None:
    async with around(place, tmp_path, subject="groups") as corp:
        desk, idp = Desk(corp), corp.idp
        token = await desk.sign_in("opaque", "s1", groups=["ann"])
        bare = idp.logout_request("ann").replace(BARE, "")
        assert "no SessionIndex" in await desk.refusal(idp.redirected("SAMLRequest", bare))
        assert await desk.there(token)
        await desk.told(idp.redirected("SAMLRequest", idp.logout_request("opaque")))
        assert not await desk.there(token)


async def test_a_session_that_ends_while_its_sign_in_is_under_way_ends_it(desk: Desk) -> None:
    corp, idp = desk.corp, desk.corp.idp
    asked = await corp.ask()
    found = await corp.finish(asked, idp.signed(asked.request))
    await desk.told(idp.redirected("SAMLRequest", idp.logout_request()))
    with pytest.raises(NotAuthenticated):
        await desk.logins.issue(found.identity, found.lasts_s)
    corp.clock.pass_s(1)
    assert await desk.there(await desk.sign_in("ann", "s1")), "a newer one may have its number"


async def test_a_provider_may_be_set_to_leave_grants_alone(place: Place, tmp_path: Path) -> None:
    async with around(place, tmp_path, logout_ends_grants=False) as corp:
        told = await Desk(corp).told(corp.idp.redirected("SAMLRequest", corp.idp.logout_request()))
        assert not told.grants


async def test_leaving_tells_the_provider_who_and_which_session(corp: Around) -> None:
    asked = await corp.ask()
    found = await corp.finish(asked, corp.idp.signed(asked.request))
    root = message_in(await corp.logouts.leave(found.leave))
    assert root.tag == f"{{{SAMLP}}}LogoutRequest"
    text = etree.tostring(root).decode()
    assert ">ann</saml:NameID>" in text
    assert ">s1</samlp:SessionIndex>" in text
    for forged in ("", "x", found.leave[:-4] + "AAAA", asked.cookie):
        with pytest.raises(TokenRefused):
            await corp.logouts.leave(forged)


async def test_a_name_too_long_for_a_cookie_is_not_kept(place: Place, tmp_path: Path) -> None:
    async with around(place, tmp_path, subject="groups") as corp:
        asked = await corp.ask()
        data = corp.idp.signed(asked.request, groups=["ann"], subject="a" * 2000)
        assert (await corp.finish(asked, data)).leave == ""


async def test_the_providers_answer_is_read(desk: Desk) -> None:
    idp = desk.corp.idp
    status = (
        "<samlp:Status><samlp:StatusCode"
        ' Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>'
    )
    good = idp.logout_request().replace("LogoutRequest", "LogoutResponse").replace(BARE, status)
    told = await desk.told(idp.redirected("SAMLResponse", good))
    assert (told.keys, told.answer) == ((), "")
    failed = good.replace("status:Success", "status:Responder")
    assert "Responder" in await desk.refusal(idp.redirected("SAMLResponse", failed))


EVASIONS = {
    "by another key": (
        lambda idp: Idp(idp.now, key(1)).redirected("SAMLRequest", idp.logout_request()), "no key",
    ),
    "unsigned": (
        lambda idp: idp.redirected("SAMLRequest", idp.logout_request()).partition("&SigAlg")[0],
        "not signed",
    ),
    "SHA-1": (
        lambda idp: idp.redirected("SAMLRequest", idp.logout_request()).replace(
            quote("xmldsig-more#rsa-sha256", safe=""), quote("xmldsig#rsa-sha1", safe="")
        ),
        "not one that is taken",
    ),
    "another relay state": (
        lambda idp: idp.redirected("SAMLRequest", idp.logout_request(), "r1").replace(
            "RelayState=r1", "RelayState=r2"
        ),
        "no key",
    ),
    "a parameter twice": (
        lambda idp: idp.redirected("SAMLRequest", idp.logout_request()) + "&SAMLRequest=x",
        "twice",
    ),
    "a request and an answer": (
        lambda idp: "SAMLResponse=x&" + idp.redirected("SAMLRequest", idp.logout_request()),
        "or two",
    ),
    "another parameter": (
        lambda idp: idp.redirected("SAMLRequest", idp.logout_request()) + "&next=x", "more than",
    ),
    "an answer as a request": (
        lambda idp: idp.redirected("SAMLResponse", idp.logout_request()), "no logout",
    ),
    "another destination": (
        lambda idp: idp.redirected(
            "SAMLRequest", idp.logout_request(destination="https://other.example.com")
        ),
        "destination",
    ),
    "no destination": (
        lambda idp: idp.redirected(
            "SAMLRequest", idp.logout_request().replace(f' Destination="{SLO}"', "")
        ),
        "destination",
    ),
    "another issuer": (
        lambda idp: idp.redirected("SAMLRequest", idp.logout_request(issuer="https://x")),
        "issuer",
    ),
    "expired": (
        lambda idp: idp.redirected("SAMLRequest", idp.logout_request(until=idp.now() - 61)),
        "expired",
    ),
    "old": (
        lambda idp: idp.redirected(
            "SAMLRequest",
            idp.logout_request(issued=idp.now() - 661, until=idp.now() + 9999),
        ),
        "expired",
    ),
    "of the future": (
        lambda idp: idp.redirected("SAMLRequest", idp.logout_request(issued=idp.now() + 61)),
        "future",
    ),
    "with a comment in the name": (
        lambda idp: idp.redirected("SAMLRequest", idp.logout_request("ann<!-- -->.evil")),
        "comment",
    ),
    "more sessions than anybody has": (
        lambda idp: idp.redirected(
            "SAMLRequest", idp.logout_request().replace(BARE, BARE * 101)
        ),
        "more than 100",
    ),
    "nothing": (lambda idp: "", "SAML message"),
    "not compressed": (
        lambda idp: "SAMLRequest=AAAA&SigAlg=x&Signature=AAAA", "not one that is taken",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "why"), EVASIONS.values(), ids=EVASIONS.keys())
async def test_what_the_provider_did_not_ask_for_ends_nothing(
    desk: Desk, make: object, why: str
) -> None:
    token = await desk.sign_in("ann", "s1")
    assert callable(make)
    assert why in await desk.refusal(make(desk.corp.idp))
    assert await desk.there(token)


async def test_a_request_shown_again_ends_nothing(desk: Desk) -> None:
    idp = desk.corp.idp
    query = idp.redirected("SAMLRequest", idp.logout_request())
    await desk.told(query)
    desk.corp.clock.pass_s(1)
    token = await desk.sign_in("ann", "s1")
    assert "used before" in await desk.refusal(query)
    assert await desk.there(token)
