"""From a client's first byte to its request for a session."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.model import limits
from taskgate.model.errors import (
    Denied,
    NotAuthenticated,
    OverLimit,
    ProtocolViolation,
    TaskgateError,
)
from taskgate.protocols.postgres.authentication import (
    AUTHENTICATION_CLEARTEXT,
    GSSENC_REQUEST,
    SSL_REQUEST,
    CancelRequest,
    NegotiateProtocolVersion,
    encode_cancel,
    encode_password,
    encode_startup,
    parse_negotiate,
)
from taskgate.protocols.postgres.startup import BeginTls, Send, ServerStartup, Step
from taskgate.protocols.postgres.startup_options import (
    BadOption,
    StartupRequest,
    parse_options,
    sort_parameters,
    split_options,
)

PARAMETERS = [
    ("user", "sales-report+warehouse-eu"),
    ("database", "sales"),
    ("application_name", "psql"),
    ("client_encoding", "UTF8"),
]
STARTUP = encode_startup(0, PARAMETERS)
PASSWORD = encode_password("tg_secret")
REQUEST = StartupRequest(
    user="sales-report+warehouse-eu",
    task="sales-report",
    resource="warehouse-eu",
    database="sales",
    application_name="psql",
    settings=(("client_encoding", "UTF8"),),
    minor=0,
    password="tg_secret",
)


def machine(*, offers_tls: bool = True, takes_plaintext: bool = False) -> ServerStartup:
    return ServerStartup(offers_tls=offers_tls, takes_plaintext=takes_plaintext)


def after_tls(alpn: str | None = None) -> ServerStartup:
    startup = machine()
    startup.feed(SSL_REQUEST)
    assert startup.advance() == BeginTls(b"S")
    startup.tls_started(alpn)
    return startup


def steps(startup: ServerStartup) -> list[Step]:
    found = []
    while (step := startup.advance()) is not None:
        found.append(step)
    return found


def test_ssl_then_startup_then_password() -> None:
    startup = after_tls("postgresql")
    assert startup.tls
    startup.feed(STARTUP)
    assert steps(startup) == [Send(AUTHENTICATION_CLEARTEXT)]
    startup.feed(PASSWORD)
    assert steps(startup) == [REQUEST]


def test_at_every_split_and_byte_by_byte() -> None:
    stream = STARTUP + PASSWORD
    for cut in range(len(stream)):
        startup = after_tls()
        found: list[Step] = []
        for piece in (stream[:cut], stream[cut:]):
            startup.feed(piece)
            found += steps(startup)
        assert found == [Send(AUTHENTICATION_CLEARTEXT), REQUEST]
    startup = after_tls()
    found = []
    for byte in stream:
        startup.feed(bytes((byte,)))
        found += steps(startup)
    assert found == [Send(AUTHENTICATION_CLEARTEXT), REQUEST]


def test_what_comes_behind_the_password_is_kept_for_the_session() -> None:
    startup = after_tls()
    startup.feed(STARTUP + PASSWORD + b"Q\0\0\0\5\0")
    assert steps(startup)[-1] == REQUEST
    assert startup.rest() == b"Q\0\0\0\5\0"
    assert startup.rest() == b""


def test_gss_is_always_answered_no_and_then_ssl_may_follow() -> None:
    startup = machine()
    startup.feed(GSSENC_REQUEST)
    assert steps(startup) == [Send(b"N")]
    startup.feed(SSL_REQUEST)
    assert steps(startup) == [BeginTls(b"S")]


def test_without_a_certificate_ssl_is_answered_no() -> None:
    startup = machine(offers_tls=False, takes_plaintext=True)
    startup.feed(SSL_REQUEST)
    assert steps(startup) == [Send(b"N")]
    startup.feed(GSSENC_REQUEST)
    assert steps(startup) == [Send(b"N")]
    startup.feed(STARTUP + PASSWORD)
    assert steps(startup)[-1] == REQUEST
    assert not startup.tls


@pytest.mark.parametrize("request_twice", [SSL_REQUEST, GSSENC_REQUEST])
def test_each_encryption_is_asked_for_once(request_twice: bytes) -> None:
    startup = machine(offers_tls=False, takes_plaintext=True)
    startup.feed(request_twice)
    steps(startup)
    startup.feed(request_twice)
    with pytest.raises(ProtocolViolation):
        startup.advance()


@pytest.mark.parametrize("inside", [SSL_REQUEST, GSSENC_REQUEST])
def test_no_encryption_within_tls(inside: bytes) -> None:
    startup = after_tls()
    startup.feed(inside)
    with pytest.raises(ProtocolViolation):
        startup.advance()


@pytest.mark.parametrize("first", [SSL_REQUEST, GSSENC_REQUEST])
@pytest.mark.parametrize("offers_tls", [True, False])
@pytest.mark.parametrize("behind", [b"\0", STARTUP, b"\x16\x03\x01"])
def test_bytes_before_the_answer_are_refused(first: bytes, offers_tls: bool, behind: bytes) -> None:
    startup = machine(offers_tls=offers_tls, takes_plaintext=True)
    startup.feed(first + behind)
    with pytest.raises(ProtocolViolation, match="unencrypted data"):
        startup.advance()


def test_plaintext_is_refused_before_the_password_is_asked_for() -> None:
    startup = machine()
    startup.feed(STARTUP + PASSWORD)
    with pytest.raises(NotAuthenticated, match="over TLS only"):
        startup.advance()
    startup = machine(offers_tls=False)
    startup.feed(STARTUP)
    with pytest.raises(NotAuthenticated, match="no connection without TLS"):
        startup.advance()


class TestDirectTls:
    HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

    def test_begins_with_the_bytes_that_came(self) -> None:
        startup = machine()
        startup.feed(self.HELLO)
        assert steps(startup) == [BeginTls(b"", self.HELLO, direct=True)]
        startup.tls_started("postgresql")
        startup.feed(STARTUP + PASSWORD)
        assert steps(startup) == [Send(AUTHENTICATION_CLEARTEXT), REQUEST]

    @pytest.mark.parametrize("alpn", [None, "h2", "http/1.1", "POSTGRESQL"])
    def test_needs_its_protocol_negotiated(self, alpn: str | None) -> None:
        startup = machine()
        startup.feed(self.HELLO)
        steps(startup)
        with pytest.raises(ProtocolViolation, match="ALPN"):
            startup.tls_started(alpn)

    def test_without_a_certificate(self) -> None:
        startup = machine(offers_tls=False, takes_plaintext=True)
        startup.feed(self.HELLO)
        with pytest.raises(ProtocolViolation):
            startup.advance()

    @pytest.mark.parametrize("before", [SSL_REQUEST, GSSENC_REQUEST])
    def test_not_after_a_request(self, before: bytes) -> None:
        startup = machine(offers_tls=False, takes_plaintext=True)
        startup.feed(before)
        steps(startup)
        startup.feed(self.HELLO)
        with pytest.raises(ProtocolViolation):
            startup.advance()

    def test_tls_cannot_start_by_itself(self) -> None:
        with pytest.raises(ProtocolViolation):
            machine().tls_started("postgresql")


@pytest.mark.parametrize("secret", [b"\1\2\3\4", bytes(range(256))])
def test_cancel_requests_come_with_and_without_tls(secret: bytes) -> None:
    for startup in (machine(), after_tls()):
        startup.feed(encode_cancel(77, secret))
        assert steps(startup) == [CancelRequest(77, secret)]
    startup = machine()
    startup.feed(encode_cancel(77, secret) + b"x")
    with pytest.raises(TaskgateError):
        startup.advance()


@pytest.mark.parametrize(
    ("asked", "used", "negotiates"),
    [(0, 0, False), (1, 0, True), (2, 2, False), (3, 2, True), (9999, 2, True), (65535, 2, True)],
)
def test_protocol_versions(asked: int, used: int, negotiates: bool) -> None:
    startup = after_tls()
    startup.feed(encode_startup(asked, PARAMETERS))
    (step,) = steps(startup)
    assert isinstance(step, Send)
    assert step.data.endswith(AUTHENTICATION_CLEARTEXT)
    offer = step.data.removesuffix(AUTHENTICATION_CLEARTEXT)
    assert bool(offer) == negotiates
    if offer:
        assert parse_negotiate(offer) == NegotiateProtocolVersion(used)
    startup.feed(PASSWORD)
    (request,) = steps(startup)
    assert isinstance(request, StartupRequest)
    assert request.minor == used


def test_unknown_protocol_options_are_named() -> None:
    startup = after_tls()
    startup.feed(encode_startup(0, [*PARAMETERS, ("_pq_.compression", "on"), ("_pq_.x", "")]))
    (step,) = steps(startup)
    assert isinstance(step, Send)
    offer = parse_negotiate(step.data.removesuffix(AUTHENTICATION_CLEARTEXT))
    assert offer == NegotiateProtocolVersion(0, ("_pq_.compression", "_pq_.x"))
    startup.feed(PASSWORD)
    (request,) = steps(startup)
    assert isinstance(request, StartupRequest)
    assert request.settings == (("client_encoding", "UTF8"),)


@pytest.mark.cap("MAX_STARTUP_BYTES")
@pytest.mark.parametrize(
    "length", [0, 1, 4, 7, limits.MAX_STARTUP_BYTES + 1, 0x47455420, 2**32 - 1]
)
def test_impossible_packet_lengths(length: int) -> None:
    startup = machine()
    startup.feed(length.to_bytes(4))
    with pytest.raises(ProtocolViolation, match="length of startup packet"):
        startup.advance()


def test_a_packet_of_the_longest_length_is_taken() -> None:
    room = limits.MAX_STARTUP_BYTES - len(encode_startup(0, [*PARAMETERS, ("a.b", "")]))
    startup = after_tls()
    startup.feed(encode_startup(0, [*PARAMETERS, ("a.b", "x" * room)]))
    assert steps(startup) == [Send(AUTHENTICATION_CLEARTEXT)]


@pytest.mark.parametrize("tag", [b"Q", b"X", b"P", b"\0", b"S"])
def test_only_a_password_may_follow(tag: bytes) -> None:
    startup = after_tls()
    startup.feed(STARTUP + tag + b"\0\0\0\5\0")
    startup.advance()
    with pytest.raises(ProtocolViolation, match="expected a password"):
        startup.advance()


@pytest.mark.cap("MAX_PASSWORD_BYTES")
def test_a_password_that_is_too_long_is_refused_by_its_header() -> None:
    startup = after_tls()
    startup.feed(STARTUP + b"p" + (limits.MAX_PASSWORD_BYTES + 1).to_bytes(4))
    startup.advance()
    with pytest.raises(OverLimit):
        startup.advance()


@pytest.mark.parametrize("message", [b"p\0\0\0\3", b"p\0\0\0\7a\0b", b"p\0\0\0\6ab", b"p\0\0\0\4"])
def test_malformed_passwords(message: bytes) -> None:
    startup = after_tls()
    startup.feed(STARTUP + message + b"\0\0")
    startup.advance()
    with pytest.raises(ProtocolViolation):
        startup.advance()


def test_memory_before_sign_in_is_bounded() -> None:
    startup = machine()
    with pytest.raises(OverLimit):
        startup.feed(bytes(limits.MAX_STARTUP_BYTES + limits.MAX_PASSWORD_BYTES + limits.MIB))


def test_the_password_does_not_show() -> None:
    assert "tg_secret" not in repr(REQUEST)


class TestParameters:
    @pytest.mark.parametrize(
        ("user", "task", "resource"),
        [("a", "a", ""), ("a+b", "a", "b"), ("a+b+c", "a", "b+c"), ("é", "é", "")],
    )
    def test_the_user_names_task_and_resource(self, user: str, task: str, resource: str) -> None:
        request = sort_parameters([("user", user)]).request(0, "")
        assert (request.task, request.resource) == (task, resource)

    @pytest.mark.parametrize("user", ["", "+", "+b", "a+"])
    def test_a_user_that_names_none(self, user: str) -> None:
        with pytest.raises(NotAuthenticated):
            sort_parameters([("user", user)])
        with pytest.raises(NotAuthenticated):
            sort_parameters([])

    def test_a_database_named_like_the_user_is_none(self) -> None:
        for database in ("", "a"):
            request = sort_parameters([("user", "a"), ("database", database)]).request(0, "")
            assert request.database == ""

    @pytest.mark.parametrize("value", ["true", "database", "1", "on", "false", "0", ""])
    def test_replication_is_denied(self, value: str) -> None:
        with pytest.raises(Denied):
            sort_parameters([("user", "a"), ("replication", value)])

    @pytest.mark.parametrize(
        "extra",
        [
            [("user", "b")],
            [("USER", "b")],
            [("TimeZone", "UTC"), ("timezone", "UTC")],
            [("options", ""), ("options", "-c a=b")],
        ],
    )
    def test_nothing_is_said_twice(self, extra: list[tuple[str, str]]) -> None:
        with pytest.raises(ProtocolViolation, match="twice"):
            sort_parameters([("user", "a"), *extra])

    @pytest.mark.parametrize(
        "name",
        ["user", "USER", "database", "options", "replication", "Replication", "_pq_.x"],
    )
    def test_options_cannot_smuggle_what_is_no_setting(self, name: str) -> None:
        for options in (f"-c {name}=postgres", f"--{name}=postgres", f"-c{name}=postgres"):
            with pytest.raises(BadOption):
                sort_parameters([("user", "a"), ("options", options)])

    @pytest.mark.parametrize(
        "name", ["", "a b", "a;b", "a=b", "é", "1a", ".a", "a.", "a..b", "a'b"]
    )
    def test_names_that_no_setting_has(self, name: str) -> None:
        with pytest.raises(BadOption):
            sort_parameters([("user", "a"), (name, "x")])

    def test_settings_are_in_order_and_the_packet_counts_more_than_its_options(self) -> None:
        wanted = sort_parameters(
            [
                ("user", "a"),
                ("DateStyle", "ISO"),
                ("options", "-c search_path=a -c datestyle=SQL --search-path=b"),
            ]
        )
        assert wanted.settings == (("search_path", "b"), ("datestyle", "ISO"))

    def test_the_application_name_from_either_place(self) -> None:
        for extra, name in (
            ([("options", "-c application_name=x")], "x"),
            ([("application_name", "y"), ("options", "-c application_name=x")], "y"),
            ([], ""),
        ):
            wanted = sort_parameters([("user", "a"), *extra])
            assert wanted.application_name == name
            assert wanted.settings == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  ", []),
        ("-c a=b", ["-c", "a=b"]),
        (" -c\ta=b \n", ["-c", "a=b"]),
        (r"-c a=x\ y", ["-c", "a=x y"]),
        (r"a\\b", ["a\\b"]),
        (r"\ ", [" "]),
        ("a\\", ["a"]),
        ("a'b c'", ["a'b", "c'"]),
    ],
)
def test_options_are_split_as_postgresql_does(text: str, words: list[str]) -> None:
    assert split_options(text) == words


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("-c a=b", [("a", "b")]),
        ("-ca=b", [("a", "b")]),
        ("--a=b", [("a", "b")]),
        ("--statement-timeout=5s", [("statement_timeout", "5s")]),
        ("-c a=b=c", [("a", "b=c")]),
        ("-c a=", [("a", "")]),
        (r"-c search_path=a,\ b --x.y=1", [("search_path", "a, b"), ("x.y", "1")]),
    ],
)
def test_options_that_set(text: str, settings: list[tuple[str, str]]) -> None:
    assert parse_options(text) == settings


@pytest.mark.parametrize(
    "text", ["-c", "-c a", "--", "--a", "-d 5", "-P", "a=b", "-S 1", "-f s", "-"]
)
def test_options_that_are_refused(text: str) -> None:
    with pytest.raises(BadOption) as caught:
        parse_options(text)
    assert caught.value.sqlstate == "22023"


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([SSL_REQUEST, GSSENC_REQUEST, STARTUP, PASSWORD]), max_size=5),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3),
    st.lists(st.integers(1, 60), min_size=1, max_size=20),
    st.booleans(),
)
def test_mutated_and_cut_nobody_is_asked_for_a_password_in_clear(
    packets: list[bytes], flips: list[tuple[int, int]], sizes: list[int], offers_tls: bool
) -> None:
    stream = bytearray(b"".join(packets))
    for at, value in flips:
        if stream:
            stream[at % len(stream)] = value
    startup = machine(offers_tls=offers_tls)
    at = turn = 0
    try:
        while at < len(stream):
            startup.feed(bytes(stream[at : at + sizes[turn % len(sizes)]]))
            at += sizes[turn % len(sizes)]
            turn += 1
            for step in steps(startup):
                assert isinstance(step, Send | BeginTls | CancelRequest)
                assert not isinstance(step, Send) or step.data == b"N"
    except TaskgateError:
        pass
