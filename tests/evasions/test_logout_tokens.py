"""Words that somebody signed out, from whoever is not their provider, or said before: refused, and
nobody is signed out."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskgate.identity.oidc.logout import EVENT, LoggedOut, Logouts
from taskgate.identity.oidc.provider import Providers
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.sealing import Sealer
from taskgate.model.clock import Clock
from taskgate.model.errors import NotFound
from taskgate.store.open import Store, open_store
from tests.identity.oidc.conftest import settings_for
from tests.identity.oidc.issuing import Issuing, hmac_signed, issuing, part, pem, rsa_key, sign

NOW = int(time.time())
KEYS: list[Any] = []


@pytest.fixture
def there() -> Iterator[Issuing]:
    if not KEYS:
        KEYS.append(rsa_key("one"))
    with issuing(*KEYS) as running:
        yield running


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/state.db") as opened:
        yield opened


@pytest.fixture
async def logouts(there: Issuing, store: Store) -> AsyncIterator[Logouts]:
    clock = Clock()
    providers = Providers(
        [
            settings_for(there.issuer),
            settings_for(there.issuer + "/by-mail", name="mail", subject_claim="email"),
        ],
        clock,
    )
    yield Logouts(providers, Sealer(b"k" * 32), store.once, clock)
    await providers.close()


def claims(there: Issuing, **changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"jti": "j1", "events": {EVENT: {}}, "groups": None, "sid": "s1"}
    return there.claims(**(found | changed))


def logout(there: Issuing, header: dict[str, Any] | None = None, **changed: Any) -> str:
    found: dict[str, Any] = {"jti": "j1", "events": {EVENT: {}}, "groups": None, "sid": "s1"}
    return there.token({"typ": "logout+jwt"} | (header or {}), **(found | changed))


async def test_a_session_or_a_person_is_signed_out(there: Issuing, logouts: Logouts) -> None:
    found = await logouts.told("corp", logout(there))
    assert found == LoggedOut("corp", "session/corp:s1", grants=True)
    whole = await logouts.told("corp", logout(there, jti="j2", sid=None))
    assert whole.key == "corp:ann"
    alone = await logouts.told("corp", logout(there, jti="j3", sub=None))
    assert alone.key == "session/corp:s1"


@pytest.mark.cap("LOGOUT_TOKEN_S")
@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"events": None}, "tells of no logout"),
        ({"events": {}}, "tells of no logout"),
        ({"events": [EVENT]}, "tells of no logout"),
        ({"events": {EVENT: "yes"}}, "tells of no logout"),
        ({"events": {EVENT + "s": {}}}, "tells of no logout"),
        ({"nonce": "n"}, "no nonce"),
        ({"nonce": ""}, "no nonce"),
        ({"jti": None}, "no jti"),
        ({"jti": ["a"]}, "no jti"),
        ({"aud": "another"}, "another audience"),
        ({"iss": "https://evil.example.com"}, "another issuer's"),
        ({"exp": NOW - 3600}, "expired"),
        ({"exp": None}, "never expires"),
        ({"iat": None}, "old, or does not say"),
        ({"iat": NOW - 600, "exp": NOW + 3600}, "old, or does not say"),
        ({"iat": NOW + 3600}, "in the future"),
        ({"sid": None, "sub": None}, "no subject"),
        ({"sub": ["ann"]}, "no subject"),
        ({"sid": ["s1"], "sub": None}, "no subject"),
    ],
    ids=range(19),
)
async def test_refused_for_what_it_says(
    there: Issuing, logouts: Logouts, changed: dict[str, Any], why: str
) -> None:
    with pytest.raises(TokenRefused) as caught:
        await logouts.told("corp", logout(there, **changed))
    assert why in caught.value.why


@pytest.mark.parametrize("typ", ["at+jwt", "secevent+jwt", "dpop+jwt", 7])
async def test_refused_as_another_type(there: Issuing, logouts: Logouts, typ: object) -> None:
    with pytest.raises(TokenRefused):
        await logouts.told("corp", logout(there, {"typ": typ}))


async def test_refused_with_a_signature_of_somebody_else(there: Issuing, logouts: Logouts) -> None:
    body = claims(there)
    header = {"alg": "RS256", "kid": "one", "typ": "logout+jwt"}
    for forged in (
        sign(rsa_key("one"), header, str(part(body)).encode()),
        f"{part({'alg': 'none'})}.{part(body)}.",
        f"{part({'alg': 'none'})}.{part(body)}.{part(b'x')}",
        hmac_signed(pem(there.keys[0]), {"alg": "HS256", "kid": "one"}, body),
        logout(there)[:-8],
        "",
    ):
        with pytest.raises(TokenRefused):
            await logouts.told("corp", forged)


async def test_refused_a_second_time_on_any_node(
    there: Issuing, logouts: Logouts, store: Store
) -> None:
    token = logout(there)
    await logouts.told("corp", token)
    providers = Providers([settings_for(there.issuer)], Clock())
    another = Logouts(providers, Sealer(b"k" * 32), store.once, Clock())
    for node in (logouts, another):
        with pytest.raises(TokenRefused) as caught:
            await node.told("corp", token)
        assert "used before" in caught.value.why
    await providers.close()


async def test_a_refused_one_does_not_spend_the_name_of_a_good_one(
    there: Issuing, logouts: Logouts
) -> None:
    with pytest.raises(TokenRefused):
        await logouts.told("corp", logout(there, aud="another"))
    assert (await logouts.told("corp", logout(there))).key == "session/corp:s1"


async def test_refused_at_another_providers_address(there: Issuing, logouts: Logouts) -> None:
    with pytest.raises(TokenRefused):
        await logouts.told("mail", logout(there))
    with pytest.raises(NotFound):
        await logouts.told("nobody", logout(there))


async def test_an_id_token_signs_nobody_out_and_a_logout_token_nobody_in(
    there: Issuing, logouts: Logouts
) -> None:
    with pytest.raises(TokenRefused):
        await logouts.told("corp", there.token(sid="s1", jti="j9"))
    providers = Providers([settings_for(there.issuer)], Clock())
    for token in (logout(there), logout(there, {"typ": "JWT"})):
        with pytest.raises(TokenRefused):
            await providers.prove(token)
    await providers.close()


async def test_where_people_are_known_by_another_claim_only_a_session_counts(
    there: Issuing, store: Store
) -> None:
    clock = Clock()
    providers = Providers([settings_for(there.issuer, subject_claim="email")], clock)
    logouts = Logouts(providers, Sealer(b"k" * 32), store.once, clock)
    assert (await logouts.told("corp", logout(there))).key == "session/corp:s1"
    # Else somebody whose sub is another's address would sign that one out.
    with pytest.raises(TokenRefused):
        await logouts.told("corp", logout(there, jti="j2", sid=None, sub="boss@example.com"))
    await providers.close()
