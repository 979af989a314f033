"""The SAML providers' part of the configuration: what is refused at the start."""

from pathlib import Path

import pytest

from taskgate.gateway.config import Config, ConfigErrors, parse_config


def load(text: str, more: str = "") -> Config:
    return parse_config(
        f"state_dir: state\npublic_url: https://gate.example.com\n{more}saml:\n{text}",
        Path("/etc/gate.yaml"),
    )


GOOD = "  - name: corp\n    entity_id: https://idp.example.com\n    metadata: idp.xml\n"
OIDC = "oidc:\n  - {name: corp, issuer: https://login.example.com, client_id: x}\n"


def test_defaults_are_the_safe_ones() -> None:
    settings = load(GOOD).saml[0].settings()
    assert settings.metadata == Path("/etc/idp.xml")
    assert settings.groups.prefix == "corp/"
    assert settings.groups.claim == ("groups",)
    assert not settings.unsolicited
    assert settings.subject == ""
    assert settings.contexts == ()
    address = load(GOOD.replace("idp.xml", "https://idp.example.com/m")).saml[0].settings()
    assert address.metadata == "https://idp.example.com/m"


def test_providers_must_know_where_to_send_browsers() -> None:
    with pytest.raises(ConfigErrors, match="saml needs public_url"):
        parse_config(f"state_dir: state\nsaml:\n{GOOD}", Path("/etc/gate.yaml"))


def test_what_the_provider_ends_ends_grants_unless_told_otherwise() -> None:
    assert load(GOOD).saml[0].settings().logout_ends_grants
    told = load(GOOD + "    logout: {ends_grants: false}\n    mfa_acr: [urn:mfa]\n").saml[0]
    assert not told.settings().logout_ends_grants
    assert told.settings().mfa_contexts == ("urn:mfa",)


@pytest.mark.parametrize(
    ("text", "more", "why"),
    [
        (GOOD.replace("corp", "local"), "", "none of agent, local"),
        (GOOD.replace("corp", "a:b"), "", "a-z"),
        (GOOD + GOOD, "", "two providers have the name corp"),
        (GOOD + GOOD.replace("corp", "again"), "", "two providers have the entity_id"),
        (GOOD, OIDC, "two providers have the name corp"),
        (GOOD.replace("idp.xml", "http://idp.example.com/m"), "", "must begin with https"),
        (GOOD.replace("https://idp.example.com", "'a b'"), "", "printable ASCII"),
        (GOOD + "    groups: {prefix: '', map: {a: b}}\n", "", "either prefix or map"),
        (GOOD + "    groups: {claim: groups}\n", "", "claim"),
        (GOOD + "    unsolicited: maybe\n", "", "valid boolean"),
        (GOOD + "    sign_in_s: 0\n", "", "greater than 0"),
        (GOOD + "    name_id_format: urn:oasis:names:tc:SAML:2.0:nameid-format:transient\n", "",
         "another one at each sign-in"),
        (GOOD + "    entityid: x\n", "", "did you mean entity_id"),
        (GOOD, "saml_key: {key: hunter2, cert: x}\n", "expected keys"),
    ],
    ids=["reserved", "colon", "twice", "entity-twice", "also-oidc", "in-clear", "space", "map",
         "claim", "unsolicited", "no-time", "transient", "typo", "secret"],
)  # fmt: skip
def test_what_is_refused(text: str, more: str, why: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(text, more)
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "/etc/gate.yaml:" in str(caught.value)
