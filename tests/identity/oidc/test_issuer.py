"""An issuer's keys: fetched seldom, renewed when they change, and what happens when they cannot be
had."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from taskgate.identity.oidc.compact import parse_compact
from taskgate.identity.oidc.fetching import Answer, Fetcher, ensure_fetchable
from taskgate.identity.oidc.issuer import Issuer
from taskgate.identity.oidc.refusals import ProviderUnavailable, TokenRefused
from taskgate.model import limits
from tests.identity.clocks import SteppedClock
from tests.identity.oidc.issuing import Issuing, issuing, rsa_key, sign

JWKS = "/jwks"


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(time.time())


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher()
    yield made
    await made.close()


@pytest.fixture
def issuer(there: Issuing, fetcher: Fetcher, clock: SteppedClock) -> Issuer:
    return Issuer(there.issuer, fetcher, clock)


async def check(issuer: Issuer, token: str) -> None:
    await issuer.verify(parse_compact(token))


async def test_keys_are_not_fetched_once_a_sign_in(issuer: Issuer, there: Issuing) -> None:
    for _ in range(50):
        await check(issuer, there.token())
    assert there.count(JWKS) == 1


async def test_a_crowd_waits_for_one_fetch(issuer: Issuer, there: Issuing) -> None:
    there.delay_s = 0.2
    await asyncio.gather(*(check(issuer, there.token()) for _ in range(50)))
    assert there.count(JWKS) == 1


@pytest.mark.cap("PROVIDER_KEYS_TTL_S")
async def test_keys_are_renewed_after_a_while(
    issuer: Issuer, there: Issuing, clock: SteppedClock
) -> None:
    await check(issuer, there.token())
    clock.pass_s(limits.PROVIDER_KEYS_TTL_S + 1)
    await check(issuer, there.token())
    assert there.count(JWKS) == 2


async def test_a_rotated_key_is_found_at_once_and_the_old_one_stops_counting(
    issuer: Issuer, there: Issuing
) -> None:
    before = there.token()
    await check(issuer, before)
    there.keys = [rsa_key("two")]
    await check(issuer, there.token())
    with pytest.raises(TokenRefused, match="accepted") as caught:
        await check(issuer, before)
    assert "no such key" in caught.value.why


@pytest.mark.cap("PROVIDER_KEY_HUNTS", "PROVIDER_KEY_HUNT_S")
async def test_invented_keys_cause_few_fetches(
    issuer: Issuer, there: Issuing, clock: SteppedClock
) -> None:
    await check(issuer, there.token())
    for number in range(100):
        with pytest.raises(TokenRefused):
            await check(issuer, there.token({"kid": f"invented-{number}"}))
    assert there.count(JWKS) <= 1 + limits.PROVIDER_KEY_HUNTS
    asked = there.count(JWKS)
    clock.pass_s(limits.PROVIDER_KEY_HUNT_S)
    for number in range(10):
        with pytest.raises(TokenRefused):
            await check(issuer, there.token({"kid": f"again-{number}"}))
    assert there.count(JWKS) == asked + 1


@pytest.mark.cap("PROVIDER_RETRY_S")
async def test_a_provider_that_is_down_is_a_clear_error_and_is_not_asked_again_at_once(
    issuer: Issuer, there: Issuing, clock: SteppedClock
) -> None:
    there.status = 500
    with pytest.raises(ProviderUnavailable, match="HTTP status 500"):
        await check(issuer, there.token())
    asked = len(there.asked)
    with pytest.raises(ProviderUnavailable, match="HTTP status 500"):
        await check(issuer, there.token())
    assert len(there.asked) == asked
    there.status = 200
    clock.pass_s(limits.PROVIDER_RETRY_S)
    await check(issuer, there.token())


async def test_a_port_where_nobody_listens(fetcher: Fetcher, clock: SteppedClock) -> None:
    with issuing(rsa_key()) as gone:
        token = gone.token()
    with pytest.raises(ProviderUnavailable, match="no connection"):
        await check(Issuer(gone.issuer, fetcher, clock), token)


@pytest.mark.cap("PROVIDER_TIMEOUT_S")
async def test_a_slow_provider_keeps_nobody_waiting_for_long(
    issuer: Issuer, there: Issuing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROVIDER_TIMEOUT_S", 0.3)
    there.silent = True
    asked = []
    get = issuer._fetcher.get

    async def counted(url: str, *most: int) -> Answer:
        asked.append(url)
        return await get(url, *most)

    monkeypatch.setattr(issuer._fetcher, "get", counted)
    answers = await asyncio.gather(
        *(check(issuer, there.token()) for _ in range(20)), return_exceptions=True
    )
    assert all(isinstance(one, ProviderUnavailable) for one in answers)
    assert len(asked) == 1, "they waited one after the other"
    with pytest.raises(ProviderUnavailable, match="no answer within"):
        await check(issuer, there.token())
    assert len(asked) == 1


@pytest.mark.cap("PROVIDER_KEYS_STALE_S")
async def test_while_the_provider_is_down_known_keys_count_on_but_not_for_ever(
    issuer: Issuer, there: Issuing, clock: SteppedClock
) -> None:
    await check(issuer, there.token())
    there.status = 503
    clock.pass_s(limits.PROVIDER_KEYS_TTL_S + 1)
    await check(issuer, there.token())
    clock.pass_s(limits.PROVIDER_KEYS_STALE_S)
    with pytest.raises(ProviderUnavailable):
        await check(issuer, there.token())


async def test_whoever_stops_waiting_does_not_end_the_fetch_for_others(
    issuer: Issuer, there: Issuing
) -> None:
    there.delay_s = 0.2
    first = asyncio.create_task(check(issuer, there.token()))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(check(issuer, there.token()))
    await asyncio.sleep(0.05)
    first.cancel()
    await second
    assert there.count(JWKS) == 1


async def test_thousands_of_keys_are_refused_and_the_known_ones_count_on(
    issuer: Issuer, there: Issuing, clock: SteppedClock
) -> None:
    await check(issuer, there.token())
    there.extra_keys = [
        {"kty": "EC", "crv": "P-256", "kid": f"k{n}", "x": "AA", "y": "AA"} for n in range(3_000)
    ]
    clock.pass_s(limits.PROVIDER_KEYS_TTL_S + 1)
    began = time.process_time()
    await check(issuer, there.token())
    assert time.process_time() - began < 2.0
    fresh = Issuer(there.issuer, issuer._fetcher, clock)
    with pytest.raises(ProviderUnavailable, match="more than 1000 keys"):
        await check(fresh, there.token())


async def test_many_keys_within_the_cap_are_no_burden(issuer: Issuer, there: Issuing) -> None:
    there.extra_keys = [
        {"kty": "EC", "crv": "P-256", "kid": f"k{n}", "x": "AA", "y": "AA"} for n in range(900)
    ]
    began = time.process_time()
    for _ in range(20):
        await check(issuer, there.token())
    assert time.process_time() - began < 1.0


@pytest.mark.cap("MAX_PROVIDER_ANSWER_BYTES")
@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no JSON"),
        (b"[]", "no JSON"),
        (b'{"issuer": "x"}', "another issuer"),
        (b"<html>", "no JSON"),
        (b"{" + b" " * limits.MAX_PROVIDER_ANSWER_BYTES + b"}", "larger"),
    ],
)
async def test_what_is_no_discovery_document(
    issuer: Issuer, there: Issuing, body: bytes, why: str
) -> None:
    token = there.token()
    there.body = body
    with pytest.raises(ProviderUnavailable, match=why):
        await check(issuer, token)


@pytest.mark.parametrize(
    "jwks_uri", ["file:///etc/passwd", "http://keys.example/jwks", "ftp://x/y", 7, "//x", ""]
)
async def test_keys_are_fetched_over_tls_or_from_this_machine_only(
    issuer: Issuer, there: Issuing, jwks_uri: Any
) -> None:
    there.metadata = {"jwks_uri": jwks_uri}
    with pytest.raises(ProviderUnavailable, match="no usable jwks_uri"):
        await check(issuer, there.token())


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}],
        [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "one"}],
        ["text", None, 7],
        [{"kty": ["RSA"]}],
    ],
)
async def test_a_key_set_without_a_usable_key(
    issuer: Issuer, there: Issuing, keys: list[Any]
) -> None:
    token = there.token()
    there.keys, there.extra_keys = [], keys
    with pytest.raises(ProviderUnavailable, match="no key that could verify"):
        await check(issuer, token)


async def test_a_key_for_encryption_does_not_sign(issuer: Issuer, there: Issuing) -> None:
    key = rsa_key("for-encryption")
    there.extra_keys = [key.as_dict(private=False) | {"use": "enc"}]
    with pytest.raises(TokenRefused):
        await check(
            issuer,
            sign(key, {"alg": "RS256", "kid": "for-encryption"}, json.dumps(there.claims())),
        )


async def test_a_token_without_a_kid_is_tried_against_few_keys(
    issuer: Issuer, there: Issuing
) -> None:
    token = sign(there.keys[0], {"alg": "RS256"}, json.dumps(there.claims()))
    await check(issuer, token)
    public = there.keys[0].as_dict(private=False)
    there.extra_keys = [public | {"kid": f"k{n}"} for n in range(10)]
    other = Issuer(there.issuer, issuer._fetcher, issuer._clock)
    with pytest.raises(TokenRefused) as caught:
        await check(other, token)
    assert "which of many keys" in caught.value.why


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com",
        "https://",
        "https://u:p@x.example",
        "login.example.com",
        "https://x/#f",
    ],
)
def test_addresses_that_are_not_fetched(url: str) -> None:
    with pytest.raises(ValueError, match="issuer"):
        ensure_fetchable(url, "issuer")
