"""The gate signing in, against servers played from a script, honest and not."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.model import limits
from taskgate.model.errors import TaskgateError, UpstreamFault
from taskgate.protocols.postgres import messages, tags
from taskgate.protocols.postgres.authentication import (
    AUTHENTICATION_CLEARTEXT,
    AUTHENTICATION_OK,
    BackendKey,
    NegotiateProtocolVersion,
    StartupPacket,
    encode_authentication_sasl,
    encode_backend_key,
    encode_negotiate,
    encode_password,
    parse_first_packet,
)
from taskgate.protocols.postgres.login import Channel, LoggedIn, Login, LoginRefused, LoginRequest
from taskgate.protocols.postgres.reader import INT32, frame
from taskgate.protocols.postgres.scram import SCRAM, SCRAM_PLUS, md5_answer
from tests.certificates import Authority
from tests.protocols.postgres.test_scram import Server as ScramServer

PASSWORD = "pa55-wörd"
NONCE = "fyko+d2lbbFgONRv9qkxdawL"
PLAIN = Channel()
UNVERIFIED = Channel(tls=True, verified=False, certificate=b"")
REQUEST = LoginRequest("tg_reports", "sales", PASSWORD, (("application_name", "tg:ann"),))
READY = messages.encode_ready_for_query("I")
WELCOME = (
    AUTHENTICATION_OK
    + messages.encode_parameter_status("server_version", "18.1")
    + messages.encode_parameter_status("is_superuser", "off")
    + messages.encode_parameter_status("is_superuser", "on")
    + encode_backend_key(BackendKey(7, b"abcd"))
    + READY
)


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    """A channel whose certificate can be bound to."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    path = Authority(tmp_path_factory.mktemp("ca")).certificate
    der = x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    return Channel(tls=True, verified=True, certificate=der)


def sasl(code: int, data: bytes) -> bytes:
    return frame(tags.AUTHENTICATION, INT32.pack(code) + data)


def md5(salt: bytes) -> bytes:
    return frame(tags.AUTHENTICATION, INT32.pack(5) + salt)


def error(sqlstate: str, message: str) -> bytes:
    fields = (("S", "FATAL"), ("V", "FATAL"), ("C", sqlstate), ("M", message))
    return messages.encode_report(tags.ERROR_RESPONSE, fields)


def login(channel: Channel = PLAIN, request: LoginRequest = REQUEST) -> Login:
    machine = Login(request, channel, NONCE)
    machine.start()
    return machine


def done(machine: Login) -> LoggedIn:
    assert machine.result is not None
    return machine.result


def test_the_startup_packet() -> None:
    packet = Login(REQUEST, PLAIN, NONCE).start()
    assert parse_first_packet(packet) == StartupPacket(
        3, 0, (("user", "tg_reports"), ("database", "sales"), ("application_name", "tg:ann"))
    )
    assert PASSWORD.encode() not in packet
    assert b"database" not in Login(replace(REQUEST, database=""), PLAIN, NONCE).start()


@pytest.mark.parametrize("name", ["user", "USER", "database", "options", "replication", "_pq_.x"])
def test_a_setting_never_passes_for_something_else(name: str) -> None:
    request = replace(REQUEST, settings=((name, "postgres"),))
    with pytest.raises(UpstreamFault):
        Login(request, PLAIN, NONCE).start()


@pytest.mark.parametrize(
    "given_settings",
    [
        (("a", "1"), ("a", "2")),
        (("", "1"),),
        (("a", "1\0user\0postgres"),),
        (("a", "x" * limits.MAX_STARTUP_BYTES),),
    ],
)
def test_settings_that_cannot_be_sent(given_settings: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(UpstreamFault):
        Login(replace(REQUEST, settings=given_settings), PLAIN, NONCE).start()


def test_without_a_password_asked_for() -> None:
    machine = login()
    assert machine.feed(WELCOME) == b""
    assert done(machine) == LoggedIn(
        parameters=(("server_version", "18.1"), ("is_superuser", "on")),
        key=BackendKey(7, b"abcd"),
        minor=0,
        status="I",
        notices=(),
        leftover=b"",
    )


def test_what_comes_after_ready_is_left_over() -> None:
    machine = login()
    after = messages.encode_notification(messages.Notification(1, "c", "p"))
    machine.feed(WELCOME + after + b"N\0")
    assert done(machine).leftover == after + b"N\0"


def test_notices_are_kept() -> None:
    notice = messages.encode_report(tags.NOTICE_RESPONSE, (("S", "WARNING"), ("M", "collation")))
    machine = login()
    machine.feed(AUTHENTICATION_OK + notice + READY)
    assert done(machine).notices == (notice,)
    assert done(machine).key is None


def test_md5() -> None:
    machine = login()
    answer = machine.feed(md5(b"\1\2\3\4"))
    assert answer == encode_password(md5_answer("tg_reports", PASSWORD, b"\1\2\3\4"))
    machine.feed(WELCOME)
    assert done(machine).status == "I"


def test_md5_can_be_switched_off() -> None:
    machine = login(request=replace(REQUEST, allow_md5=False))
    with pytest.raises(UpstreamFault, match="md5"):
        machine.feed(md5(b"\1\2\3\4"))


def test_cleartext_goes_only_to_a_verified_server(verified: Channel) -> None:
    for channel in (PLAIN, UNVERIFIED):
        with pytest.raises(UpstreamFault, match="in clear"):
            login(channel).feed(AUTHENTICATION_CLEARTEXT)
    machine = login(verified)
    assert machine.feed(AUTHENTICATION_CLEARTEXT) == encode_password(PASSWORD)


def play_scram(machine: Login, server: ScramServer, mechanisms: list[str]) -> bytes:
    """The whole exchange; the gate's first answer."""
    initial = machine.feed(encode_authentication_sasl(mechanisms))
    name, _, rest = initial[5:].partition(b"\0")
    client_first = rest[4:]
    final = machine.feed(sasl(11, server.first(client_first)))
    assert machine.feed(sasl(12, server.final(final[5:]))) == b""
    machine.feed(WELCOME)
    return name + b" " + client_first


def test_scram_without_tls() -> None:
    machine = login()
    assert play_scram(machine, ScramServer(PASSWORD), [SCRAM]).startswith(b"SCRAM-SHA-256 n,,")
    assert done(machine).status == "I"


def test_scram_is_bound_where_the_server_offers_it(verified: Channel) -> None:
    machine = login(verified)
    first = play_scram(machine, ScramServer(PASSWORD), [SCRAM_PLUS, SCRAM])
    assert first.startswith(b"SCRAM-SHA-256-PLUS p=tls-server-end-point,,")


def test_the_server_hears_that_binding_was_possible(verified: Channel) -> None:
    """If someone took the offer of -PLUS away, the server sees it in the y."""
    machine = login(verified)
    first = play_scram(machine, ScramServer(PASSWORD), [SCRAM])
    assert first.startswith(b"SCRAM-SHA-256 y,,")


def test_a_certificate_that_cannot_be_bound_to(verified: Channel) -> None:
    machine = login(replace(verified, certificate=b""))
    first = play_scram(machine, ScramServer(PASSWORD), [SCRAM_PLUS, SCRAM])
    assert first.startswith(b"SCRAM-SHA-256 n,,")


def test_an_offer_of_binding_without_tls_is_a_stripped_one() -> None:
    with pytest.raises(UpstreamFault, match="channel binding"):
        login().feed(encode_authentication_sasl([SCRAM_PLUS, SCRAM]))


def test_no_mechanism_in_common() -> None:
    for mechanisms in ([], ["OAUTHBEARER"], ["SCRAM-SHA-1"]):
        with pytest.raises(UpstreamFault, match="no SASL mechanism"):
            login(UNVERIFIED).feed(encode_authentication_sasl(mechanisms))


@pytest.mark.parametrize("code", [1, 2, 4, 6, 7, 8, 9, 13, 99, -1])
def test_methods_that_the_gate_does_not_speak(code: int) -> None:
    with pytest.raises(UpstreamFault, match="does not speak"):
        login().feed(frame(tags.AUTHENTICATION, INT32.pack(code)))


def test_a_credential_without_a_password(verified: Channel) -> None:
    request = replace(REQUEST, password=None)
    for asked in (AUTHENTICATION_CLEARTEXT, md5(b"abcd"), encode_authentication_sasl([SCRAM])):
        with pytest.raises(UpstreamFault, match="has none"):
            login(verified, request).feed(asked)


@pytest.mark.parametrize("password", ["a\0b", "a\udcff"])
def test_a_password_that_cannot_be_sent_is_not_quoted(password: str, verified: Channel) -> None:
    request = replace(REQUEST, password=password)
    for asked in (AUTHENTICATION_CLEARTEXT, md5(b"abcd"), encode_authentication_sasl([SCRAM])):
        with pytest.raises(UpstreamFault) as caught:
            login(verified, request).feed(asked)
        assert password not in str(caught.value)


class TestServersThatCheat:
    def test_a_welcome_in_the_middle_of_scram_skips_the_proof(self) -> None:
        machine = login()
        machine.feed(encode_authentication_sasl([SCRAM]))
        with pytest.raises(UpstreamFault):
            machine.feed(WELCOME)
        machine = login()
        initial = machine.feed(encode_authentication_sasl([SCRAM]))
        machine.feed(sasl(11, ScramServer(PASSWORD).first(initial[5:].split(b"\0", 1)[1][4:])))
        with pytest.raises(UpstreamFault):
            machine.feed(WELCOME)

    def test_a_wrong_signature(self) -> None:
        machine = login()
        server = ScramServer("another password")
        initial = machine.feed(encode_authentication_sasl([SCRAM]))
        final = machine.feed(sasl(11, server.first(initial[5:].split(b"\0", 1)[1][4:])))
        with pytest.raises(UpstreamFault):
            machine.feed(sasl(12, server.final(final[5:])))

    @pytest.mark.parametrize("second", [AUTHENTICATION_CLEARTEXT, md5(b"abcd")])
    def test_a_second_weaker_question(self, second: bytes, verified: Channel) -> None:
        for first in (md5(b"efgh"), AUTHENTICATION_CLEARTEXT, encode_authentication_sasl([SCRAM])):
            machine = login(verified)
            machine.feed(first)
            with pytest.raises(UpstreamFault):
                machine.feed(second)
        machine = login(verified)
        machine.feed(AUTHENTICATION_OK)
        with pytest.raises(UpstreamFault):
            machine.feed(second)

    @pytest.mark.parametrize(
        "early",
        [
            READY,
            messages.encode_parameter_status("a", "b"),
            encode_backend_key(BackendKey(1, b"abcd")),
            sasl(11, b"r=x"),
            sasl(12, b"v=x"),
            messages.encode_data_row([b"1"]),
            messages.encode_command_complete("SELECT 1"),
            b"\xff\0\0\0\4",
            b"R\0\0\0\3",
            b"R\0\0\0\6\0\0",
        ],
    )
    def test_what_does_not_belong_before_sign_in(self, early: bytes) -> None:
        with pytest.raises(UpstreamFault):
            login().feed(early)

    def test_nothing_but_what_belongs_before_ready(self) -> None:
        for stray in (messages.encode_data_row([b"1"]), messages.PARSE_COMPLETE):
            with pytest.raises(UpstreamFault):
                login().feed(AUTHENTICATION_OK + stray)

    @pytest.mark.cap("MAX_LOGIN_BYTES")
    def test_talking_without_end(self) -> None:
        machine = login()
        machine.feed(AUTHENTICATION_OK)
        notice = messages.encode_report(tags.NOTICE_RESPONSE, (("M", "x" * 10_000),))
        for _ in range(limits.MAX_LOGIN_BYTES // len(notice)):
            machine.feed(notice)
        with pytest.raises(UpstreamFault, match="too much"):
            machine.feed(notice)

    def test_versions_that_were_not_asked_for(self) -> None:
        offer = encode_negotiate(NegotiateProtocolVersion(0))
        with pytest.raises(UpstreamFault):
            login().feed(offer)
        for minor in (1, 2, 3):
            with pytest.raises(UpstreamFault):
                login(request=replace(REQUEST, minor=2)).feed(
                    encode_negotiate(NegotiateProtocolVersion(minor))
                )
        with pytest.raises(UpstreamFault):
            login(request=replace(REQUEST, minor=2)).feed(offer + offer)


def test_an_older_server_under_3_2() -> None:
    machine = login(request=replace(REQUEST, minor=2))
    machine.feed(encode_negotiate(NegotiateProtocolVersion(0)) + WELCOME)
    assert done(machine).minor == 0
    machine = login(request=replace(REQUEST, minor=2))
    long_key = encode_backend_key(BackendKey(7, bytes(32)))
    machine.feed(AUTHENTICATION_OK + long_key + READY)
    assert done(machine).minor == 2
    assert done(machine).key == BackendKey(7, bytes(32))


class TestRefusals:
    @pytest.mark.parametrize("sqlstate", ["28P01", "28000"])
    def test_a_refused_credential_is_the_operators_to_know(self, sqlstate: str) -> None:
        with pytest.raises(LoginRefused) as caught:
            login().feed(error(sqlstate, 'password authentication failed for user "tg_reports"'))
        assert "tg_reports" not in caught.value.message
        assert "tg_reports" in caught.value.server_message
        assert caught.value.server_sqlstate == sqlstate
        assert caught.value.sqlstate == "08004"

    def test_other_reasons_are_told_under_their_own_code(self) -> None:
        with pytest.raises(LoginRefused) as caught:
            login().feed(AUTHENTICATION_OK + error("3D000", 'database "x" does not exist'))
        assert 'database "x" does not exist' in caught.value.message
        assert caught.value.sqlstate == "3D000"

    @pytest.mark.parametrize("sqlstate", ["28P01", "XX000", ""])
    def test_a_server_that_quotes_the_password(self, sqlstate: str) -> None:
        with pytest.raises(LoginRefused) as caught:
            login().feed(error(sqlstate, f"no role has the password {PASSWORD}"))
        said = (caught.value.message, caught.value.hint, caught.value.server_message)
        assert not any(PASSWORD in text for text in said)


def test_the_password_does_not_show() -> None:
    assert PASSWORD not in repr(REQUEST)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    st.lists(st.integers(1, 50), min_size=1, max_size=30),
    st.sampled_from([b"", md5(b"abcd"), encode_authentication_sasl([SCRAM])]),
)
def test_mutated_and_cut_it_is_a_session_or_a_fault(
    flips: list[tuple[int, int]], sizes: list[int], first: bytes
) -> None:
    stream = bytearray(first + WELCOME)
    for at, value in flips:
        stream[at % len(stream)] = value
    machine = login()
    sent = b""
    at = turn = 0
    told = ""
    try:
        while at < len(stream) and machine.result is None:
            sent += machine.feed(bytes(stream[at : at + sizes[turn % len(sizes)]]))
            at += sizes[turn % len(sizes)]
            turn += 1
    except TaskgateError as caught:
        told = str(caught)
    assert PASSWORD.encode() not in sent, "never in clear here"
    assert PASSWORD not in told


def test_at_every_split() -> None:
    for cut in range(len(WELCOME)):
        machine = login()
        machine.feed(WELCOME[:cut])
        assert machine.result is None
        machine.feed(WELCOME[cut:])
        assert done(machine).key == BackendKey(7, b"abcd")
