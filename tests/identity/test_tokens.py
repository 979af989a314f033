"""What tokens look like, and what they open."""

import hashlib
import re

import pytest

from taskgate.gateway.logs import redact_text
from taskgate.identity.tokens import TokenKind, hash_token, looks_right, new_token

FORM = re.compile(r"(tg|tgl)_[0-9A-Za-z]{49}")


@pytest.mark.parametrize("kind", TokenKind)
def test_a_token_has_its_form_and_only_its_hash_is_given_for_keeping(kind: TokenKind) -> None:
    token, token_hash = new_token(kind)
    assert FORM.fullmatch(token)
    assert token.startswith(kind.value)
    assert looks_right(token, kind)
    assert token_hash == hashlib.sha256(token.encode()).hexdigest() == hash_token(token)


def test_tokens_differ_in_every_digit_sooner_or_later() -> None:
    tokens = [new_token()[0][3:] for _ in range(500)]
    assert len(set(tokens)) == 500
    # The first digit of 43 holds the number's top: 62**43 is some 50 times 2**256.
    assert all(len({token[at] for token in tokens}) > 1 for at in range(len(tokens[0])))


def test_one_kind_is_never_taken_for_the_other() -> None:
    grant, login = new_token(TokenKind.GRANT)[0], new_token(TokenKind.LOGIN)[0]
    assert not looks_right(grant, TokenKind.LOGIN)
    assert not looks_right(login, TokenKind.GRANT)


def test_any_changed_digit_shows() -> None:
    token, _ = new_token()
    for at in range(len(token)):
        for other in "0Zz_":
            if token[at] != other:
                assert not looks_right(token[:at] + other + token[at + 1 :])


@pytest.mark.parametrize(
    "text",
    ["", "tg_", "tg_" + "a" * 49, "x" * 10_000, "tg_" + "é" * 49, "\ud800", "tg_" + "\ud800" * 49,
     "١" * 52, "tg_" + "١" * 49],
)  # fmt: skip
def test_what_is_no_token_is_none_and_has_a_hash_all_the_same(text: str) -> None:
    assert not looks_right(text)
    assert len(hash_token(text)) == 64


@pytest.mark.parametrize("kind", TokenKind)
def test_the_log_hides_every_token(kind: TokenKind) -> None:
    token, _ = new_token(kind)
    assert token[-12:] not in redact_text(f"could not use {token}, sorry")
