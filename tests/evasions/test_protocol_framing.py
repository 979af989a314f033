"""Getting round the gate below SQL: framing, starting up, signing in.

Each case is the verdict that a user (or whoever stands between) gets. Append only.
"""

import pytest

from taskgate.model import limits
from taskgate.model.errors import (
    Denied,
    NotAuthenticated,
    OverLimit,
    ProtocolViolation,
    TaskgateError,
    UpstreamFault,
)
from taskgate.protocols.postgres import messages, tags
from taskgate.protocols.postgres.authentication import (
    AUTHENTICATION_CLEARTEXT,
    AUTHENTICATION_OK,
    GSSENC_REQUEST,
    SSL_REQUEST,
    encode_authentication_sasl,
    encode_password,
    encode_startup,
)
from taskgate.protocols.postgres.errors import encode_error
from taskgate.protocols.postgres.frames import ROWS, BackendFramer, FrontendFramer
from taskgate.protocols.postgres.login import Channel, Login, LoginRequest
from taskgate.protocols.postgres.reader import BadText, frame
from taskgate.protocols.postgres.startup import BeginTls, Send, ServerStartup
from taskgate.protocols.postgres.startup_options import StartupRequest

DROP = messages.encode_query("DROP TABLE customers")
SELECT = messages.encode_query("SELECT 1")


def taken(*pieces: bytes) -> list[bytes]:
    """What a client's bytes let reach the judge; ends at the first refusal."""
    framer = FrontendFramer()
    found: list[bytes] = []
    try:
        for piece in pieces:
            framer.feed(piece)
            while (whole := framer.take()) is not None:
                found.append(whole)
    except TaskgateError:
        pass
    return found


def started(*packets: bytes, tls: bool = True) -> StartupRequest:
    """The session that these packets of a client ask for."""
    startup = ServerStartup(offers_tls=True, takes_plaintext=False)
    if tls:
        startup.feed(SSL_REQUEST)
        assert isinstance(startup.advance(), BeginTls)
        startup.tls_started(None)
    for packet in packets:
        startup.feed(packet)
    while (step := startup.advance()) is not None:
        if isinstance(step, StartupRequest):
            return step
    raise AssertionError("nothing was asked for")


def start_with(**parameters: str) -> StartupRequest:
    return started(
        encode_startup(0, [("user", "t"), *parameters.items()]), encode_password("token")
    )


class TestFraming:
    def test_refused_a_statement_behind_an_unknown_message(self) -> None:
        for tag in range(256):
            if chr(tag) not in "QPBDECFSHdcfX":
                assert taken(frame(tag, b"") + DROP) == []

    def test_refused_a_statement_hidden_in_a_length_that_lies(self) -> None:
        short = b"Q" + (len(SELECT) - 4).to_bytes(4) + SELECT[5:]
        for whole in taken(short + DROP):
            with pytest.raises(TaskgateError):
                messages.parse_query(whole)

    def test_refused_a_second_statement_behind_a_nul(self) -> None:
        body = b"SELECT 1\0; DROP TABLE customers\0"
        with pytest.raises(ProtocolViolation):
            messages.parse_query(frame(tags.QUERY, body))
        with pytest.raises(ProtocolViolation):
            messages.parse_parse(frame(tags.PARSE, b"\0" + body + b"\0\0"))

    def test_never_forwarded_before_it_is_whole(self) -> None:
        for cut in range(len(DROP)):
            assert taken(DROP[:cut]) == []
        assert taken(*(bytes((byte,)) for byte in DROP)) == [DROP]

    def test_refused_an_oversized_statement_before_it_has_arrived(self) -> None:
        framer = FrontendFramer()
        framer.feed(b"Q" + (limits.MAX_STATEMENT_BYTES + 1).to_bytes(4))
        with pytest.raises(OverLimit):
            framer.take()

    def test_refused_a_negative_length(self) -> None:
        for length in (b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\3", b"\0\0\0\0"):
            assert taken(b"Q" + length + b"DROP TABLE customers\0" + DROP) == []

    def test_refused_a_password_message_in_the_middle_of_a_session(self) -> None:
        assert taken(encode_password("again") + DROP) == []

    def test_refused_a_startup_packet_in_the_middle_of_a_session(self) -> None:
        assert taken(encode_startup(0, [("user", "postgres")])) == []
        assert taken(SSL_REQUEST) == []

    def test_refused_text_in_an_encoding_that_swallows_a_quote(self) -> None:
        # In SJIS, BIG5 or GBK the byte before the quote would take it for its second half.
        for lead in (b"\x95", b"\xbf", b"\x81", b"\xe5"):
            with pytest.raises(BadText):
                messages.parse_query(frame(tags.QUERY, b"SELECT '" + lead + b"' OR 1=1 --'\0"))

    def test_refused_overlong_utf8(self) -> None:
        with pytest.raises(BadText):
            messages.parse_query(frame(tags.QUERY, b"SELECT \xc0\xa7 OR 1=1\0"))

    def test_refused_parameters_that_do_not_add_up(self) -> None:
        bind = bytearray(messages.encode_bind(messages.Bind("", "s", (), (b"1",), ())))
        bind[9:11] = b"\0\2"
        with pytest.raises(ProtocolViolation):
            messages.parse_bind(bytes(bind))

    def test_refused_rows_that_claim_to_end_early(self) -> None:
        """A row's length that a server (or who stands before it) makes lie ends the session."""
        framer = BackendFramer()
        framer.feed(b"D\0\0\0\2" + messages.encode_data_row([b"secret"]))
        with pytest.raises(ProtocolViolation):
            framer.take_run(ROWS)
        with pytest.raises(ProtocolViolation):
            framer.take()

    def test_never_read_past_a_lost_stream(self) -> None:
        framer = BackendFramer()
        framer.feed(b"\0\0\0\0\4" + messages.encode_data_row([b"secret"]))
        for _ in range(3):
            with pytest.raises(ProtocolViolation):
                framer.take()

    def test_the_gates_own_error_carries_no_forged_field(self) -> None:
        error = encode_error(Denied("no rule for \0C00000\0Mgo ahead"))
        assert messages.parse_report(error).get("C") == "42501"


class TestStartingUp:
    STARTUP = encode_startup(0, [("user", "t")])

    def test_refused_plaintext_put_before_the_clients_tls(self) -> None:
        for request in (SSL_REQUEST, GSSENC_REQUEST):
            with pytest.raises(ProtocolViolation):
                started(request + self.STARTUP + encode_password("token"), tls=False)

    def test_refused_a_password_in_clear_and_it_is_not_even_asked_for(self) -> None:
        startup = ServerStartup(offers_tls=True, takes_plaintext=False)
        startup.feed(self.STARTUP)
        with pytest.raises(NotAuthenticated):
            startup.advance()
        startup = ServerStartup(offers_tls=True, takes_plaintext=False)
        startup.feed(GSSENC_REQUEST)
        assert startup.advance() == Send(b"N")
        startup.feed(self.STARTUP)
        with pytest.raises(NotAuthenticated):
            startup.advance()

    def test_refused_replication(self) -> None:
        for value in ("true", "database", "on", "1", "yes", "false"):
            with pytest.raises(Denied):
                start_with(replication=value)
            with pytest.raises(Denied):
                start_with(REPLICATION=value)

    @pytest.mark.parametrize(
        "options",
        [
            "-c user=postgres",
            "--user=postgres",
            "-c USER=postgres",
            "-c database=other",
            "-c replication=database",
            "-c _pq_.x=1",
            "-c options=-cuser=postgres",
            r"-c us\er=postgres",
            "-cuser=postgres",
            "-P",
            "-O",
            "-f s",
            "-d 5",
            "-r /tmp/x",
            "--",
            "-c 'a b'=c",
        ],
    )
    def test_refused_options_that_are_no_settings(self, options: str) -> None:
        with pytest.raises(TaskgateError):
            start_with(options=options)

    def test_seen_every_setting_of_the_options(self) -> None:
        request = start_with(options=r"-csearch_path=evil --role=postgres -c session\_x.y=1")
        assert dict(request.settings) == {
            "search_path": "evil",
            "role": "postgres",
            "session_x.y": "1",
        }

    def test_refused_a_second_user(self) -> None:
        packet = b"user\0t\0user\0postgres\0\0"
        whole = (len(packet) + 8).to_bytes(4) + b"\0\3\0\0" + packet
        with pytest.raises(ProtocolViolation):
            started(whole, encode_password("token"))

    def test_refused_parameters_behind_the_end_of_the_packet(self) -> None:
        packet = b"user\0t\0\0replication\0true\0\0"
        whole = (len(packet) + 8).to_bytes(4) + b"\0\3\0\0" + packet
        with pytest.raises(ProtocolViolation):
            started(whole, encode_password("token"))

    def test_negotiated_down_a_version_of_the_future(self) -> None:
        packet = encode_startup(77, [("user", "t"), ("_pq_.magic", "1")])
        request = started(packet, encode_password("token"))
        assert (request.minor, request.settings) == (2, ())

    def test_refused_the_old_protocol(self) -> None:
        with pytest.raises(ProtocolViolation):
            started((296).to_bytes(4) + b"\0\2\0\0" + bytes(288), encode_password("token"))

    def test_refused_a_statement_instead_of_a_password(self) -> None:
        with pytest.raises(ProtocolViolation):
            started(self.STARTUP, DROP)


class TestTheCredentialStays:
    REQUEST = LoginRequest("tg", "db", "s3cret", ())

    def sent(self, channel: Channel, *said: bytes) -> bytes:
        """What the gate tells a resource that says this, up to a refusal."""
        login = Login(self.REQUEST, channel, "nonce")
        out = login.start()
        try:
            for data in said:
                out += login.feed(data)
        except UpstreamFault as error:
            out += f"{error.message} {error.hint}".encode()
        return out

    def test_never_in_clear_to_who_asks_for_it_so(self) -> None:
        for channel in (Channel(), Channel(tls=True)):
            assert b"s3cret" not in self.sent(channel, AUTHENTICATION_CLEARTEXT)

    def test_never_after_scram_has_begun(self) -> None:
        channel = Channel(tls=True, verified=True)
        scram = encode_authentication_sasl(["SCRAM-SHA-256"])
        assert b"s3cret" not in self.sent(channel, scram, AUTHENTICATION_CLEARTEXT)
        assert b"s3cret" not in self.sent(channel, AUTHENTICATION_OK, AUTHENTICATION_CLEARTEXT)

    def test_never_in_what_the_client_is_told(self) -> None:
        quoting = messages.encode_report(
            tags.ERROR_RESPONSE, (("S", "FATAL"), ("C", "XX000"), ("M", "pw s3cret is bad"))
        )
        assert b"s3cret" not in self.sent(Channel(), quoting)

    def test_not_fooled_by_a_server_that_skips_its_proof(self) -> None:
        login = Login(self.REQUEST, Channel(), "nonce")
        login.feed(encode_authentication_sasl(["SCRAM-SHA-256"]))
        with pytest.raises(UpstreamFault):
            login.feed(AUTHENTICATION_OK + messages.encode_ready_for_query("I"))
        assert login.result is None
