"""Single logout: whose sign-ins end, and whose request ends nothing."""

from dataclasses import dataclass, field
from urllib.parse import quote

import pytest
from lxml import etree

from taskgate.identity.logins import Logins
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.names import SAMLP
from taskgate.model.account import Login
from tests.identity.saml.around import Around
from tests.identity.saml.issuing import SLO, Idp, key, message_in, relay_in


@dataclass(slots=True)
class Desk:
    """Signs people in, and hears whose sign-ins a provider ends."""

    corp: Around
    ended: list[str] = field(default_factory=list)

    async def sign_in(self, subject: str, index: str) -> str:
        asked = await self.corp.ask()
        data = self.corp.idp.signed(asked.request, subject=subject, index=index)
        found = await self.corp.finish(asked, data)
        logins = Logins(self.corp.store.logins, self.corp.clock)
        issued = await logins.issue(found.identity, found.lasts_s)
        await self.corp.logouts.note(issued.login, found)
        return issued.login.token_hash

    async def there(self, token_hash: str) -> bool:
        return await self.corp.store.logins.get(token_hash) is not None

    async def arrive(self, query: str) -> str:
        async def ended(login: Login) -> None:
            self.ended.append(login.identity.key)

        return await self.corp.logouts.arrive("corp", query, ended)

    async def refusal(self, query: str) -> str:
        with pytest.raises(TokenRefused) as caught:
            await self.arrive(query)
        assert self.ended == []
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
    url = await desk.arrive(idp.redirected("SAMLRequest", idp.logout_request(), "r1"))
    assert [await desk.there(one) for one in (first, second, other)] == [False, True, True]
    assert desk.ended == ["corp:ann"]
    assert url.startswith("https://login.example.com/slo?SAMLResponse=")
    assert relay_in(url) == "r1"
    answer = message_in(url, "SAMLResponse")
    assert answer.get("InResponseTo", "").startswith("_l")
    assert "status:Success" in etree.tostring(answer).decode()


async def test_a_request_without_a_session_ends_all_of_the_person(desk: Desk) -> None:
    mine = [await desk.sign_in("ann", f"s{n}") for n in range(3)]
    other = await desk.sign_in("eve", "s1")
    idp = desk.corp.idp
    bare = idp.logout_request().replace("<samlp:SessionIndex>s1</samlp:SessionIndex>", "")
    await desk.arrive(idp.redirected("SAMLRequest", bare))
    assert not any([await desk.there(one) for one in mine])
    assert await desk.there(other)


async def test_a_sign_in_that_ended_here_is_no_fault(desk: Desk) -> None:
    token_hash = await desk.sign_in("ann", "s1")
    await desk.corp.store.logins.end(token_hash)
    idp = desk.corp.idp
    await desk.arrive(idp.redirected("SAMLRequest", idp.logout_request()))
    assert desk.ended == []


async def test_leaving_tells_the_provider_once(desk: Desk) -> None:
    token_hash = await desk.sign_in("ann", "s1")
    url = await desk.corp.logouts.leave(token_hash)
    root = message_in(url)
    assert root.tag == f"{{{SAMLP}}}LogoutRequest"
    text = etree.tostring(root).decode()
    assert ">ann</saml:NameID>" in text
    assert ">s1</samlp:SessionIndex>" in text
    assert await desk.corp.logouts.leave(token_hash) == ""
    assert await desk.corp.logouts.leave("of-a-local-user") == ""


async def test_the_providers_answer_is_read(desk: Desk) -> None:
    idp = desk.corp.idp
    good = (
        idp.logout_request().replace("LogoutRequest", "LogoutResponse")
        .replace("<samlp:SessionIndex>s1</samlp:SessionIndex>",
                 '<samlp:Status><samlp:StatusCode'
                 ' Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>')
    )  # fmt: skip
    assert await desk.arrive(idp.redirected("SAMLResponse", good)) == ""
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
    "nothing": (lambda idp: "", "SAML message"),
    "not compressed": (
        lambda idp: "SAMLRequest=AAAA&SigAlg=x&Signature=AAAA", "not one that is taken",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "why"), EVASIONS.values(), ids=EVASIONS.keys())
async def test_what_the_provider_did_not_ask_for_ends_nothing(
    desk: Desk, make: object, why: str
) -> None:
    token_hash = await desk.sign_in("ann", "s1")
    assert callable(make)
    assert why in await desk.refusal(make(desk.corp.idp))
    assert await desk.there(token_hash)


async def test_a_request_shown_again_ends_nothing(desk: Desk) -> None:
    idp = desk.corp.idp
    query = idp.redirected("SAMLRequest", idp.logout_request())
    await desk.arrive(query)
    token_hash = await desk.sign_in("ann", "s1")
    assert "used before" in await desk.refusal(query)
    assert await desk.there(token_hash)
