"""OAUTHBEARER as bytes: what a client may send, and what it is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.errors import NotAuthenticated, ProtocolViolation, TaskgateError
from taskgate.protocols.postgres.authentication import (
    AUTHENTICATION_CLEARTEXT,
    AuthenticationSasl,
    AuthenticationSaslContinue,
    encode_sasl_initial,
    encode_sasl_response,
    encode_startup,
    parse_authentication,
)
from taskgate.protocols.postgres.oauth_bearer import ASK, BearerOffer, token_in
from taskgate.protocols.postgres.reader import INT32, encode_text, frame
from taskgate.protocols.postgres.startup import Discovery, Send, ServerStartup
from taskgate.protocols.postgres.startup_options import StartupRequest

OFFER = BearerOffer("https://idp.example.com/.well-known/openid-configuration", "openid groups")
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2ln"


def machine(user: str = "report@corp") -> ServerStartup:
    startup = ServerStartup(offers_tls=False, takes_plaintext=True, offers={"corp": OFFER})
    startup.feed(encode_startup(0, [("user", user), ("database", user)]))
    return startup


def asked(user: str = "report@corp") -> ServerStartup:
    startup = machine(user)
    assert startup.advance() == Send(ASK)
    return startup


def initial(response: bytes) -> bytes:
    return encode_sasl_initial("OAUTHBEARER", response)


def test_whoever_names_a_provider_is_asked_for_its_token() -> None:
    assert parse_authentication(ASK) == AuthenticationSasl(("OAUTHBEARER",))
    startup = asked("report+shop-eu@corp")
    startup.feed(initial(f"n,,\x01auth=Bearer {TOKEN}\x01\x01".encode()))
    request = startup.advance()
    assert isinstance(request, StartupRequest)
    assert (request.task, request.resource, request.provider) == ("report", "shop-eu", "corp")
    assert (request.password, request.database) == (TOKEN, "")
    assert TOKEN not in repr(request)


def test_whoever_names_none_is_asked_for_a_password_as_ever() -> None:
    assert machine("report").advance() == Send(AUTHENTICATION_CLEARTEXT)


def test_a_client_without_a_token_hears_where_to_get_one() -> None:
    startup = asked()
    startup.feed(initial(b"n,,\x01auth=\x01\x01"))
    step = startup.advance()
    assert isinstance(step, Send)
    answer = parse_authentication(step.data)
    assert isinstance(answer, AuthenticationSaslContinue)
    assert json.loads(answer.data) == {
        "status": "invalid_token", "openid-configuration": OFFER.discovery, "scope": "openid groups"
    }  # fmt: skip
    startup.feed(encode_sasl_response(b"\x01"))
    with pytest.raises(Discovery):
        startup.advance()
    assert startup.advance() is None


def test_after_the_discovery_nothing_else_counts() -> None:
    startup = asked()
    startup.feed(initial(b"n,,\x01auth=\x01\x01"))
    startup.advance()
    startup.feed(encode_sasl_response(f"n,,\x01auth=Bearer {TOKEN}\x01\x01".encode()))
    with pytest.raises(ProtocolViolation):
        startup.advance()


def test_a_client_may_wait_to_be_asked() -> None:
    startup = asked()
    startup.feed(frame(ord("p"), encode_text("OAUTHBEARER") + INT32.pack(-1)))
    step = startup.advance()
    assert isinstance(step, Send)
    assert parse_authentication(step.data) == AuthenticationSaslContinue(b"")
    startup.feed(encode_sasl_response(f"y,,\x01auth=bearer  {TOKEN}\x01\x01".encode()))
    request = startup.advance()
    assert isinstance(request, StartupRequest)
    assert request.password == TOKEN


@pytest.mark.parametrize(
    "user", ["report@other", "report@", "@corp", "report+@corp", "report@corp@corp", "report@Corp"]
)
def test_a_provider_that_is_not_there_is_refused_before_any_token_is_sent(user: str) -> None:
    with pytest.raises(NotAuthenticated):
        machine(user).advance()


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (encode_sasl_initial("SCRAM-SHA-256", b"n,,n=,r=x"), "nobody offered"),
        (initial(b""), "header"),
        (initial(b"p=tls-server-end-point,,\x01auth=Bearer x\x01\x01"), "header"),
        (initial(b"n,a=ann,\x01auth=Bearer x\x01\x01"), "authorization identity"),
        (initial(b"n,,auth=Bearer x\x01\x01"), "header"),
        (initial(b"n,,\x01auth=Bearer x\x01"), "does not end"),
        (initial(b"n,,\x01auth=Bearer x\x01\x01\x01"), "does not end"),
        (initial(b"n,,\x01auth=Bearer x\x01\x01auth=Bearer y\x01\x01"), "does not end"),
        (initial(b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01"), "given twice"),
        (initial(b"n,,\x01host=gate\x01\x01"), "no auth"),
        (initial(b"n,,\x01auth=Basic eDp5\x01\x01"), "something else"),
        (initial(b"n,,\x01auth=Bearer\x01\x01"), "something else"),
        (initial(b"n,,\x01auth=Bearer x y\x01\x01"), "something else"),
        (initial(b"n,,\x01auth=Bearer x\xff\x01\x01"), "does not end"),
        (initial(b"n,,\x01auth=Bearer x\0\x01\x01"), "does not end"),
        (encode_sasl_response(b"OAUTHBEARER\0\0\0\0\5n,,"), "malformed"),
        (frame(ord("Q"), b"SELECT 1\0"), "expected a password"),
    ],
    ids=range(17),
)
def test_what_is_refused(message: bytes, why: str) -> None:
    startup = asked()
    startup.feed(message)
    with pytest.raises(TaskgateError, match=why):
        startup.advance()


@pytest.mark.parametrize("cut", [1, 4, 5, 20, 60])
def test_a_message_in_pieces_is_the_same(cut: int) -> None:
    message = initial(f"n,,\x01host=gate\x01port=6432\x01auth=Bearer {TOKEN}\x01\x01".encode())
    startup = asked()
    startup.feed(message[:cut])
    assert startup.advance() is None
    startup.feed(message[cut:])
    request = startup.advance()
    assert isinstance(request, StartupRequest)
    assert request.password == TOKEN


@given(st.binary(max_size=60))
def test_any_bytes_are_a_token_or_refused(data: bytes) -> None:
    try:
        token = token_in(b"n,,\x01" + data)
    except TaskgateError:
        return
    assert token.isascii()
    assert not set(token) & set(" \x01\0,")
