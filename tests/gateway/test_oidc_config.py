"""The providers' part of the configuration: what is refused at the start."""

from pathlib import Path

import pytest

from taskgate.gateway.config import Config, ConfigErrors, parse_config
from taskgate.model.resource import SecretRef
from taskgate.model.secret import Secret


def load(text: str) -> Config:
    return parse_config(f"state_dir: state\noidc:\n{text}", Path("/etc/gate.yaml"))


GOOD = "  - name: corp\n    issuer: https://login.example.com\n    client_id: taskgate\n"


async def _secret(ref: SecretRef) -> Secret:
    return Secret(ref.name)


async def test_defaults_are_the_safe_ones() -> None:
    settings = load(GOOD + "    client_secret: {env: X}\n").oidc[0].settings(_secret)
    assert settings.groups.prefix == "corp/"
    assert settings.groups.renamed is None
    assert not settings.direct.id_tokens
    assert settings.direct.audiences == frozenset()
    assert settings.scopes == ("openid",)
    assert settings.secret is not None
    assert (await settings.secret()).reveal() == "X"
    assert load(GOOD).oidc[0].settings(_secret).secret is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD.replace("corp", "local"), "none of agent, local"),
        (GOOD.replace("corp", "trust/nightly"), "none of agent, local"),
        (GOOD.replace("corp", "Corp"), "a-z"),
        (GOOD.replace("https", "http"), "must begin with https"),
        (GOOD.replace("login.example.com", "login.example.com?x=1"), "no query"),
        (GOOD.replace("https://", "https://u:p@"), "whole address"),
        (GOOD + GOOD, "two providers have the name corp"),
        (GOOD + GOOD.replace("name: corp", "name: again"), "two providers have the issuer"),
        (GOOD + "    scopes: [profile]\n", "openid among them"),
        (GOOD + "    client_secret: hunter2\n", "expected keys"),
        (GOOD + "    groups: {prefix: '', map: {a: b}}\n", "either prefix or map"),
        (GOOD + "    direct: {}\n", "say id_tokens"),
        (GOOD + "    prompt: none\n", "consent or select_account"),
        (GOOD + "    sign_in_s: 0\n", "greater than 0"),
        (GOOD + "    clientid: x\n", "did you mean client_id"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(text)
    assert why in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "/etc/gate.yaml:" in str(caught.value)
