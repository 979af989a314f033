"""SAML responses that are good, and are shown again, elsewhere, or in somebody else's browser."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from lxml import etree

from taskgate.identity.oidc.refusals import TokenRefused
from tests.identity.saml.around import Around, around
from tests.identity.saml.issuing import posted
from tests.store.places import Place, new_place


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with new_place(request, tmp_path, "sqlite") as place:
        yield place


@pytest.fixture
async def corp(place: Place, tmp_path: Path) -> AsyncIterator[Around]:
    async with around(place, tmp_path) as made:
        yield made


async def test_a_response_shown_again_is_refused(corp: Around) -> None:
    asked = await corp.ask()
    data = corp.idp.signed(asked.request)
    await corp.finish(asked, data)
    assert "used before" in await corp.refusal(asked, data)


async def test_a_second_assertion_for_one_request_is_refused(corp: Around) -> None:
    asked = await corp.ask()
    await corp.finish(asked, corp.idp.signed(asked.request))
    assert "used before" in await corp.refusal(asked, corp.idp.signed(asked.request))


async def test_a_response_shown_again_on_another_node_or_after_a_restart_is_refused(
    corp: Around, place: Place, tmp_path: Path
) -> None:
    asked = await corp.ask()
    data = corp.idp.signed(asked.request)
    await corp.finish(asked, data)
    async with around(place, tmp_path, corp.clock) as other:
        assert "used before" in await other.refusal(asked, data)


async def test_the_same_assertion_around_which_all_else_changed_is_refused(
    place: Place, tmp_path: Path
) -> None:
    """Nobody asked for it, so nothing but its own ID tells that it was used."""
    async with around(place, tmp_path, unsolicited=True) as corp:
        asked = replace(await corp.ask(), cookie="", relay="")
        data = corp.idp.signed("")
        await corp.finish(asked, data)
        root = etree.fromstring(data)
        root.set("ID", "_another")
        assert "used before" in await corp.refusal(asked, etree.tostring(root))


async def test_it_is_remembered_for_as_long_as_it_counts(place: Place, tmp_path: Path) -> None:
    async with around(place, tmp_path, unsolicited=True) as corp:
        asked = replace(await corp.ask(), cookie="", relay="")
        data = corp.idp.signed("", until=corp.clock.now() + 500)
        await corp.finish(asked, data)
        for _ in range(5):
            corp.clock.pass_s(110)
            await corp.finish(asked, corp.idp.signed(""))
            assert "used before" in await corp.refusal(asked, data)
        corp.clock.pass_s(11)
        assert "expired" in await corp.refusal(asked, data)


async def test_somebody_elses_answer_does_not_count_in_this_browser(corp: Around) -> None:
    """Eve's response in Ann's browser would sign Ann in as Eve; Ann's stolen one, Eve as Ann."""
    eve, ann = await corp.ask(), await corp.ask()
    stolen = corp.idp.signed(ann.request)
    assert "this browser" in await corp.refusal(replace(eve, relay=ann.relay), stolen)
    assert "request of ours" in await corp.refusal(eve, stolen)
    assert "this browser" in await corp.refusal(replace(ann, cookie=""), stolen)
    assert "this browser" in await corp.refusal(replace(ann, cookie=eve.cookie), stolen)
    assert (await corp.finish(ann, stolen)).identity.subject == "ann"


async def test_a_cookie_of_ones_own_making_is_no_sign_in(corp: Around) -> None:
    asked = await corp.ask()
    for cookie in ("x", asked.cookie[:-4] + "AAAA", asked.cookie + "A", "A" * 40_000):
        forged = replace(asked, cookie=cookie)
        assert "this browser" in await corp.refusal(forged, corp.idp.signed(asked.request))


@pytest.mark.parametrize(
    "relay",
    ["", "https://evil.example/", "//evil.example", "/console/approvals", "x" * 5000, "\ud800"],
    ids=["none", "address", "host", "path", "long", "surrogate"],
)
async def test_the_relay_state_leads_nowhere(corp: Around, relay: str) -> None:
    asked = replace(await corp.ask(), relay=relay)
    assert "this browser" in await corp.refusal(asked, corp.idp.signed(asked.request))


async def test_nobody_asked_is_refused_while_it_is_off(corp: Around) -> None:
    asked = await corp.ask()
    for one in (asked, replace(asked, cookie="", relay="")):
        why = await corp.refusal(one, corp.idp.signed(""))
        assert "request" in why or "this browser" in why


async def test_nobody_asked_but_it_answers_a_request(place: Place, tmp_path: Path) -> None:
    """Switched on, an answer still belongs to its request: a stolen one is no such thing."""
    async with around(place, tmp_path, unsolicited=True) as corp:
        ann = await corp.ask()
        stolen = replace(ann, cookie="", relay="")
        assert "request" in await corp.refusal(stolen, corp.idp.signed(ann.request))


async def test_nobody_asked_and_there_is_a_way_that_is_demanded(
    place: Place, tmp_path: Path
) -> None:
    mfa = "https://refeds.org/profile/mfa"
    async with around(place, tmp_path, unsolicited=True, contexts=(mfa,)) as corp:
        asked = replace(await corp.ask(), cookie="", relay="")
        assert "ways asked for" in await corp.refusal(asked, corp.idp.signed(""))


async def test_a_comment_that_was_signed_around_does_not_cut_the_name(corp: Around) -> None:
    """Canonicalization drops comments, so the signature over `ann@corp.evil.example` also covers
    `ann@corp<!-- -->.evil.example`; readers that take the first text see somebody else."""
    asked = await corp.ask()
    data = corp.idp.signed(asked.request, subject="ann@corp.evil.example")
    cut = data.replace(b"ann@corp.evil", b"ann@corp<!-- -->.evil")
    assert "comment" in await corp.refusal(asked, cut)
    assert (await corp.finish(asked, data)).identity.subject == "ann@corp.evil.example"


async def test_refusals_are_one_face_and_a_code_is_in_no_other_address(corp: Around) -> None:
    asked = await corp.ask()
    sent = await corp.arrive(asked, corp.idp.signed(asked.request))
    assert urlsplit(sent.url).netloc == ""
    assert set(parse_qs(urlsplit(sent.url).query)) == {"code"}
    with pytest.raises(TokenRefused):
        await corp.sign_ins.arrive("corp", posted(b"x"), "y", "z")
