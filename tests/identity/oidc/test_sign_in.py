"""Signing in at a real provider (npm's certified oidc-provider): code with PKCE, device, refresh,
and its keys rotating in the middle of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest

from taskgate.identity.oidc.provider import Providers
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.sealing import Sealer
from taskgate.identity.oidc.settings import DirectTokens, GroupMapping, ProviderSettings
from taskgate.identity.oidc.sign_in import Begun, Pending, SignedIn, SignIns, _Refresh
from taskgate.model import limits
from taskgate.model.authentication import SignInDemand
from taskgate.model.errors import BadConfig, NotFound
from taskgate.model.identity import IdentityKind
from taskgate.model.secret import Secret
from tests.identity.clocks import SteppedClock
from tests.oidc_provider.running import AUDIENCE, CLIENT_SECRET, RealProvider, real_provider

REDIRECT = "http://127.0.0.1:7777/callback"


@pytest.fixture(scope="module")
def real() -> Iterator[RealProvider]:
    with real_provider() as running:
        yield running


async def _secret() -> Secret:
    return Secret(CLIENT_SECRET)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(time.time())


@pytest.fixture
async def providers(real: RealProvider, clock: SteppedClock) -> AsyncIterator[Providers]:
    settings = ProviderSettings(
        name="corp",
        issuer=real.issuer,
        client_id="taskgate",
        secret=_secret,
        scopes=("openid", "offline_access"),
        prompt="consent",
        mfa_acr=("urn:mfa",),
        groups=GroupMapping(renamed={"analysts": ("sales-analysts",)}),
        direct=DirectTokens(id_tokens=True, audiences=frozenset({AUDIENCE})),
    )
    public = replace(settings, name="public", client_id="other-app", secret=None, prompt="")
    public = replace(public, issuer=real.issuer + "/unused")
    made = Providers([settings, public], clock)
    yield made
    await made.close()


@pytest.fixture
def sign_ins(providers: Providers, clock: SteppedClock) -> SignIns:
    return SignIns(providers, Sealer(b"k" * 32), clock)


async def browse(real: RealProvider, begun: Begun, who: str = "ann") -> dict[str, str]:
    """What the browser comes back with."""
    returned = await asyncio.to_thread(real.come_back, begun.url, who)
    assert returned.startswith(REDIRECT)
    return dict(parse_qsl(urlsplit(returned).query))


async def signed_in(sign_ins: SignIns, real: RealProvider, who: str = "ann") -> SignedIn:
    begun = await sign_ins.begin("corp", REDIRECT)
    got = await browse(real, begun, who)
    return await sign_ins.finish(begun.flow, got["code"], got["state"], got.get("iss"))


async def refused(finishing: object) -> str:
    with pytest.raises(TokenRefused) as caught:
        await finishing  # type: ignore[misc]
    return caught.value.why


async def test_a_person_signs_in_by_browser(sign_ins: SignIns, real: RealProvider) -> None:
    found = await signed_in(sign_ins, real)
    identity = found.identity
    assert identity.key == "corp:ann"
    assert identity.groups == {"sales-analysts"}
    assert identity.kind is IdentityKind.HUMAN
    assert abs(identity.authenticated_at - time.time()) < 60
    assert found.refresh
    assert "eyJ" not in found.refresh


async def test_the_request_has_pkce_state_and_nonce(sign_ins: SignIns) -> None:
    begun = await sign_ins.begin("corp", REDIRECT, fresh=True)
    query = dict(parse_qsl(urlsplit(begun.url).query))
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert len(query["state"]) >= 43
    assert len(query["nonce"]) >= 43
    assert query["prompt"] == "login consent"
    again = dict(parse_qsl(urlsplit((await sign_ins.begin("corp", REDIRECT)).url).query))
    for name in ("state", "nonce", "code_challenge"):
        assert query[name] != again[name]


async def test_a_flow_is_good_once(sign_ins: SignIns, real: RealProvider) -> None:
    begun = await sign_ins.begin("corp", REDIRECT)
    got = await browse(real, begun)
    await sign_ins.finish(begun.flow, got["code"], got["state"], got["iss"])
    again = sign_ins.finish(begun.flow, got["code"], got["state"], got["iss"])
    assert "used before" in await refused(again)


async def test_a_code_of_another_sign_in_is_refused(sign_ins: SignIns, real: RealProvider) -> None:
    """A code that somebody injects: PKCE and the nonce belong to the sign-in that asked."""
    theirs, mine = await sign_ins.begin("corp", REDIRECT), await sign_ins.begin("corp", REDIRECT)
    got = await browse(real, theirs, "eve")
    assert "invalid_grant" in await refused(
        sign_ins.finish(mine.flow, got["code"], mine.state, got["iss"])
    )


async def test_a_replayed_nonce_is_refused(
    sign_ins: SignIns, real: RealProvider, providers: Providers
) -> None:
    """An ID token made for another sign-in, although all else of it is right."""
    begun = await sign_ins.begin("corp", REDIRECT)
    query = dict(parse_qsl(urlsplit(begun.url).query)) | {"nonce": "seen-before"}
    url = urlunsplit((*urlsplit(begun.url)[:3], urlencode(query), ""))
    got = await browse(real, replace(begun, url=url))
    assert "nonce" in await refused(
        sign_ins.finish(begun.flow, got["code"], got["state"], got["iss"])
    )


async def test_an_answer_with_a_wrong_state_issuer_or_flow_is_refused(
    sign_ins: SignIns, real: RealProvider
) -> None:
    begun = await sign_ins.begin("corp", REDIRECT)
    assert "another sign-in" in await refused(sign_ins.finish(begun.flow, "c", "other", None))
    begun = await sign_ins.begin("corp", REDIRECT)
    mixed_up = sign_ins.finish(begun.flow, "c", begun.state, "https://evil.example")
    assert "another provider" in await refused(mixed_up)
    begun = await sign_ins.begin("corp", REDIRECT)
    assert "another provider" in await refused(
        sign_ins.finish(begun.flow, "c", begun.state, None)
    ), "a provider that says it names itself must do so"
    begun = await sign_ins.begin("corp", REDIRECT)
    changed = begun.flow[:-4] + ("AAAA" if not begun.flow.endswith("AAAA") else "BBBB")
    assert "not one of ours" in await refused(sign_ins.finish(changed, "c", begun.state, None))
    device = await sign_ins.begin_device("corp")
    assert "not one of ours" in await refused(
        sign_ins.finish(device.flow, "c", begun.state, None)
    ), "what was sealed for one purpose opens for no other"


@pytest.mark.cap("SIGN_IN_FLOW_S")
async def test_a_flow_grows_old(sign_ins: SignIns, clock: SteppedClock) -> None:
    begun = await sign_ins.begin("corp", REDIRECT)
    clock.pass_s(limits.SIGN_IN_FLOW_S)
    assert "too long" in await refused(sign_ins.finish(begun.flow, "c", begun.state, None))


@pytest.mark.parametrize(
    "redirect",
    [
        "https://evil.example/callback",
        "http://127.0.0.1.evil.example:1/callback",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:7777/callback?x=1",
        "http://127.0.0.1:7777/other",
        "http://localhost:7777/callback",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1:7777@evil.example:80/callback",
        "http://127.0.0.1:7777/callback\n",
    ],
)
async def test_codes_are_sent_to_loopback_only(sign_ins: SignIns, redirect: str) -> None:
    with pytest.raises(BadConfig):
        await sign_ins.begin("corp", redirect)


async def test_an_unknown_provider_is_named_as_such(sign_ins: SignIns) -> None:
    with pytest.raises(NotFound) as caught:
        await sign_ins.begin("nobody", REDIRECT)
    assert "corp" in caught.value.hint


async def test_keys_that_rotate_in_mid_session(
    sign_ins: SignIns, providers: Providers, real: RealProvider
) -> None:
    first = await signed_in(sign_ins, real)
    await asyncio.to_thread(real.rotate)
    second = await signed_in(sign_ins, real)
    assert second.identity.key == first.identity.key
    assert (await sign_ins.refresh(first.refresh)).identity.key == "corp:ann"


async def test_a_sign_in_is_renewed_without_the_person_and_only_by_the_newest_token(
    sign_ins: SignIns, real: RealProvider, clock: SteppedClock
) -> None:
    first = await signed_in(sign_ins, real)
    await asyncio.sleep(1.1)  # tokens tell whole seconds
    second = await sign_ins.refresh(first.refresh)
    assert second.identity.key == "corp:ann"
    assert second.identity.authenticated_at <= first.identity.authenticated_at, (
        "a renewal is no new proof of who it is: cutting off must reach it"
    )
    assert second.refresh != first.refresh
    sealer = Sealer(b"k" * 32)
    ends = [sealer.open("refresh", one.refresh, _Refresh).until for one in (first, second)]
    assert ends[0] == ends[1], "renewing does not put the end off"
    assert "invalid_grant" in await refused(sign_ins.refresh(first.refresh))
    third = await signed_in(sign_ins, real)
    clock.pass_s(12 * 3600)
    assert "no longer" in await refused(sign_ins.refresh(third.refresh))


async def test_a_person_signs_in_on_another_device(sign_ins: SignIns, real: RealProvider) -> None:
    begun = await sign_ins.begin_device("corp")
    assert begun.user_code
    assert isinstance(await sign_ins.poll_device(begun.flow), Pending)
    await asyncio.to_thread(real.confirm, begun.complete_url, "ann")
    found = await sign_ins.poll_device(begun.flow)
    assert isinstance(found, SignedIn)
    assert found.identity.key == "corp:ann"
    assert "invalid_grant" in await refused(sign_ins.poll_device(begun.flow))


async def test_a_robots_access_token_is_no_person(providers: Providers, real: RealProvider) -> None:
    token = await asyncio.to_thread(real.robot_token)
    proof = await providers.prove(token)
    assert proof.identity.key == "corp:robot"
    assert proof.identity.kind is IdentityKind.WORKLOAD
    assert proof.identity.groups == frozenset()


async def test_the_provider_tells_how_somebody_signed_in(
    sign_ins: SignIns, real: RealProvider
) -> None:
    shown = (await signed_in(sign_ins, real)).identity.authentication
    assert shown.amr == {"pwd"}
    assert not shown.multi_factor
    assert shown.auth_time is not None
    assert abs(shown.auth_time - time.time()) < 60


async def test_a_second_factor_is_asked_for_and_told(sign_ins: SignIns, real: RealProvider) -> None:
    begun = await sign_ins.begin("corp", REDIRECT, demand=SignInDemand(mfa=True, within_s=900))
    query = dict(parse_qsl(urlsplit(begun.url).query))
    assert (query["acr_values"], query["max_age"], query["prompt"]) == ("urn:mfa", "900", "consent")
    got = await browse(real, begun)
    found = await sign_ins.finish(begun.flow, got["code"], got["state"], got["iss"])
    shown = found.identity.authentication
    assert (shown.acr, shown.multi_factor) == ("urn:mfa", True)


async def test_by_device_it_is_asked_for_too(sign_ins: SignIns, real: RealProvider) -> None:
    begun = await sign_ins.begin_device("corp", SignInDemand(mfa=True))
    await asyncio.to_thread(real.confirm, begun.complete_url, "ann")
    found = await sign_ins.poll_device(begun.flow)
    assert isinstance(found, SignedIn)
    assert found.identity.authentication.multi_factor


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        (SignInDemand(acr=("gold", "silver")), {"acr_values": "gold silver"}),
        (SignInDemand(mfa=True, acr=("gold",)), {"acr_values": "gold"}),
        (SignInDemand(within_s=90), {"max_age": "90"}),
        # Nothing to name it by: at least the person is asked again.
        (SignInDemand(mfa=True), {"prompt": "login"}),
    ],
    ids=["acr", "acr-before-mfa", "within", "mfa"],
)
async def test_how_a_demand_is_put_to_a_provider(
    real: RealProvider, clock: SteppedClock, demand: SignInDemand, expected: dict[str, str]
) -> None:
    providers = Providers([ProviderSettings("plain", real.issuer, "other-app")], clock)
    sign_ins = SignIns(providers, Sealer(b"k" * 32), clock)
    url = (await sign_ins.begin("plain", REDIRECT, demand=demand)).url
    await providers.close()
    query = dict(parse_qsl(urlsplit(url).query))
    assert {n: query[n] for n in ("acr_values", "max_age", "prompt") if n in query} == expected


async def test_a_renewal_makes_no_sign_in_newer_or_stronger(
    sign_ins: SignIns, real: RealProvider, clock: SteppedClock
) -> None:
    first = await signed_in(sign_ins, real)
    clock.pass_s(30)
    renewed = await sign_ins.refresh(first.refresh)
    assert renewed.identity.authentication == first.identity.authentication
