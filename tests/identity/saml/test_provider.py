"""A provider's metadata: what is read from it, how long it counts, and what is said when it does
not."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from lxml import etree

from taskgate.identity.oidc.refusals import ProviderUnavailable, TokenRefused
from taskgate.identity.saml.metadata import own_metadata, parse_metadata
from taskgate.identity.saml.names import MD, SIGNATURE
from taskgate.identity.saml.provider import SamlProviders, own_of
from taskgate.identity.saml.settings import OwnKey
from taskgate.identity.saml.xml import instant
from taskgate.model.errors import BadConfig
from taskgate.model.limits import (
    MAX_SAML_METADATA_BYTES,
    PROVIDER_RETRY_S,
    SAML_METADATA_STALE_S,
    SAML_METADATA_TTL_S,
)
from tests.identity.clocks import SteppedClock
from tests.identity.saml.around import OWN, settings_for
from tests.identity.saml.issuing import BASE, ENTITY, Idp, key
from tests.saml_provider.keys import certificate_of

NOW = 1_800_000_000.0


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(NOW)


@pytest.fixture
def idp(clock: SteppedClock) -> Idp:
    return Idp(clock.now)


def providers_of(source: "Path | str", clock: SteppedClock, **changed: object) -> SamlProviders:
    own = OwnKey(key(OWN), certificate_of(key(OWN)))
    return SamlProviders([settings_for(source, **changed)], own, BASE, clock)


class Site:
    """Serves metadata over HTTP, or fails to."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.asked = 0
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked += 1
                self.send_response(site.status)
                self.send_header("Content-Length", str(len(site.body)))
                self.end_headers()
                self.wfile.write(site.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/metadata"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_what_is_read(idp: Idp) -> None:
    found = parse_metadata(idp.metadata(' cacheDuration="PT1H30M"'), ENTITY)
    assert found.sign_in_url == "https://login.example.com/sso?t=1"
    assert found.logout_url == found.logout_answer_url == "https://login.example.com/slo"
    assert (found.valid_until, found.cache_s, len(found.certificates)) == (None, 5400.0, 1)
    ends = parse_metadata(idp.metadata(role=f' validUntil="{instant(NOW)}"'), ENTITY)
    assert ends.valid_until == NOW


def test_comments_in_metadata_do_not_count(idp: Idp) -> None:
    data = idp.metadata().replace(b"<md:SingleSign", b"<!-- written by hand --><md:SingleSign")
    cut = idp.metadata().replace(b"</ds:X509Certificate>", b"<!-- x --></ds:X509Certificate>")
    for one in (data, cut):
        (found,) = parse_metadata(one, ENTITY).certificates
        assert found.public_key() == idp.key.public_key()


@pytest.mark.cap("MAX_SAML_METADATA_BYTES")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d.replace(ENTITY.encode(), b"https://evil.example"), "does not describe"),
        (lambda d: d.replace(b"protocol", b"proto"), "no identity provider"),
        (lambda d: d.replace(b'use="signing"', b'use="encryption"'), "no certificate"),
        (lambda d: d.replace(b"X509Certificate>MII", b"X509Certificate>AAA"), "cannot be read"),
        (lambda d: d.replace(b"https://login.example.com/sso", b"http://login.example.com/sso"),
         "must begin with https"),
        (lambda d: d.replace(b"https://login.example.com/sso", b"javascript:x"), "whole address"),
        (lambda d: b"<!DOCTYPE x>" + d.partition(b"?>")[2], "document type"),
        (lambda d: d[:-20], "well-formed"),
        (lambda d: d + b" " * MAX_SAML_METADATA_BYTES, "larger than"),
        (lambda d: d.replace(b' ID="_m"', b' ID="_m" validUntil="soon"'), "no time"),
        (lambda d: d.replace(b"<md:IDPSSO", b'<md:Extensions><md:EntityDescriptor entityID="'
         + ENTITY.encode() + b'"/></md:Extensions><md:IDPSSO'), "once"),
    ],
    ids=["another-entity", "no-saml-2", "no-signing-key", "no-certificate", "in-clear",
         "no-address", "document-type", "cut", "too-large", "no-time", "twice"],
)  # fmt: skip
def test_what_is_refused(idp: Idp, change: object, why: str) -> None:
    assert callable(change)
    with pytest.raises(TokenRefused) as caught:
        parse_metadata(change(idp.metadata()), ENTITY)
    assert why in caught.value.why


def test_a_short_key_is_refused(idp: Idp) -> None:
    idp.key = rsa.generate_private_key(65537, 1024)
    with pytest.raises(TokenRefused) as caught:
        parse_metadata(idp.metadata(), ENTITY)
    assert "2048" in caught.value.why


def test_signed_metadata_counts_whole_and_by_its_signer_alone(idp: Idp) -> None:
    root = etree.fromstring(idp.metadata())
    with pytest.raises(TokenRefused):
        parse_metadata(idp.metadata(), ENTITY, [certificate_of(key(1))])
    idp.sign(root, by=key(1))
    signed = etree.tostring(root)
    assert parse_metadata(signed, ENTITY, [certificate_of(key(1))]).entity_id == ENTITY
    for data, signer in (
        (signed, certificate_of(key(0))),
        (signed.replace(b"sso?t=1", b"sso?t=2"), certificate_of(key(1))),
    ):
        with pytest.raises(TokenRefused):
            parse_metadata(data, ENTITY, [signer])


def test_metadata_wrapped_around_signed_metadata_is_refused(idp: Idp) -> None:
    real = etree.fromstring(idp.metadata())
    idp.sign(real, by=key(1))
    evil = etree.fromstring(Idp(idp.now, key(2)).metadata().replace(b'ID="_m"', b'ID="_e"'))
    signature = real.find(SIGNATURE)
    assert signature is not None
    evil.insert(0, signature)
    etree.SubElement(evil, f"{{{MD}}}Extensions").append(real)
    with pytest.raises(TokenRefused):
        parse_metadata(etree.tostring(evil), ENTITY, [certificate_of(key(1))])


def test_own_metadata_says_where_and_how() -> None:
    own = own_of(settings_for(""), BASE)
    data = own_metadata(own, certificate_of(key(OWN)), "")
    root = etree.fromstring(data)
    assert root.get("entityID") == f"{BASE}/saml/corp/metadata"
    text = data.decode()
    assert f"{BASE}/saml/corp/acs" in text
    assert f"{BASE}/saml/corp/slo" in text
    assert "aes256-gcm" in text
    assert "cbc" not in text
    assert "rsa-1_5" not in text


async def test_a_file_that_cannot_be_used_is_told_at_the_start(
    clock: SteppedClock, tmp_path: Path
) -> None:
    with pytest.raises(BadConfig, match="metadata of the SAML provider corp"):
        await providers_of(tmp_path / "none.xml", clock).prepare()
    (tmp_path / "bad.xml").write_text("<x/>")
    with pytest.raises(BadConfig, match="no SAML metadata"):
        await providers_of(tmp_path / "bad.xml", clock).prepare()
    with pytest.raises(BadConfig, match="certificate"):
        providers_of(tmp_path / "bad.xml", clock, metadata_certificate=tmp_path / "none.pem")


async def test_expired_metadata_signs_nobody_in_until_it_is_renewed(
    clock: SteppedClock, idp: Idp, tmp_path: Path
) -> None:
    path = tmp_path / "idp.xml"
    path.write_bytes(idp.metadata(f' validUntil="{instant(NOW + 100)}"'))
    providers = providers_of(path, clock)
    await providers.prepare()
    provider = providers.named("corp")
    assert (await provider.metadata()).entity_id == ENTITY
    clock.pass_s(100)
    with pytest.raises(ProviderUnavailable, match="metadata has expired") as caught:
        await provider.metadata()
    assert caught.value.http_status == 503
    assert "sessions that are open go on" in caught.value.hint
    path.write_bytes(idp.metadata(f' validUntil="{instant(NOW + 5000)}"'))
    clock.pass_s(PROVIDER_RETRY_S)
    assert (await provider.metadata()).valid_until == NOW + 5000


@pytest.mark.cap("SAML_METADATA_TTL_S")
async def test_metadata_at_an_address_is_asked_for_now_and_then(
    clock: SteppedClock, idp: Idp, site: Site
) -> None:
    site.status = 500
    providers = providers_of(site.url, clock)
    await providers.prepare()
    provider = providers.named("corp")
    for _ in range(20):
        with pytest.raises(ProviderUnavailable, match="HTTP status 500"):
            await provider.metadata()
    assert site.asked == 1, "callers are told at once, and the provider is left alone"
    site.status, site.body = 200, idp.metadata()
    clock.pass_s(PROVIDER_RETRY_S)
    await provider.metadata()
    for _ in range(20):
        await provider.metadata()
    assert site.asked == 2
    clock.pass_s(SAML_METADATA_TTL_S)
    await provider.metadata()
    assert site.asked == 3
    await providers.close()


@pytest.mark.cap("SAML_METADATA_STALE_S")
async def test_known_metadata_counts_for_a_day_while_its_address_is_down(
    clock: SteppedClock, idp: Idp, site: Site
) -> None:
    site.body = idp.metadata()
    providers = providers_of(site.url, clock)
    await providers.prepare()
    provider = providers.named("corp")
    site.body = b"<html>we are down</html>"
    clock.pass_s(SAML_METADATA_STALE_S)
    assert (await provider.metadata()).entity_id == ENTITY
    clock.pass_s(1)
    with pytest.raises(ProviderUnavailable, match="no SAML metadata"):
        await provider.metadata()
    await providers.close()


@pytest.mark.cap("SAML_METADATA_TTL_S")
async def test_a_key_that_the_metadata_no_longer_shows_counts_no_longer(
    clock: SteppedClock, idp: Idp, site: Site
) -> None:
    site.body = idp.metadata()
    providers = providers_of(site.url, clock)
    await providers.prepare()
    before = (await providers.named("corp").metadata()).certificates
    site.body = Idp(clock.now, key(1)).metadata()
    clock.pass_s(SAML_METADATA_TTL_S)
    after = (await providers.named("corp").metadata()).certificates
    assert before[0].public_key() != after[0].public_key()
    assert len(after) == 1
    await providers.close()
