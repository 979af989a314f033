"""The packets of starting up and the messages of signing in, as bytes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.errors import ProtocolViolation, TaskgateError
from taskgate.protocols.postgres import authentication as a

PACKETS: list[tuple[bytes, a.FirstPacket]] = [
    (bytes.fromhex("00000008 04d2162f"), a.SslRequest()),
    (bytes.fromhex("00000008 04d21630"), a.GssEncRequest()),
    (
        bytes.fromhex("00000010 04d2162e 00003039 deadbeef"),
        a.CancelRequest(12345, bytes.fromhex("deadbeef")),
    ),
    (
        bytes.fromhex("0000002c 04d2162e 00003039") + bytes(range(32)),
        a.CancelRequest(12345, bytes(range(32))),
    ),
    (
        bytes.fromhex("00000021 00030000") + b"user\0bob\0database\0shop\0\0",
        a.StartupPacket(3, 0, (("user", "bob"), ("database", "shop"))),
    ),
    (
        bytes.fromhex("00000009 00030002") + b"\0",
        a.StartupPacket(3, 2, ()),
    ),
]


@pytest.mark.parametrize(("packet", "value"), PACKETS)
def test_first_packets(packet: bytes, value: a.FirstPacket) -> None:
    assert a.parse_first_packet(packet) == value
    if isinstance(value, a.StartupPacket):
        assert a.encode_startup(value.minor, value.parameters)[4:] == packet[4:]
    elif isinstance(value, a.CancelRequest):
        assert a.encode_cancel(value.process_id, value.secret) == packet
    elif isinstance(value, a.SslRequest):
        assert packet == a.SSL_REQUEST
    else:
        assert packet == a.GSSENC_REQUEST


@pytest.mark.parametrize(("packet", "value"), PACKETS)
def test_first_packets_with_a_tail_or_cut(packet: bytes, value: a.FirstPacket) -> None:
    tail = bytes(256) if isinstance(value, a.CancelRequest) else b"x"
    with pytest.raises(ProtocolViolation):
        a.parse_first_packet(packet + tail)
    if isinstance(value, a.StartupPacket | a.CancelRequest):
        for end in range(8, min(len(packet), 15)):
            with pytest.raises(ProtocolViolation):
                a.parse_first_packet(packet[:end])


@pytest.mark.parametrize("version", ["00020000", "00040000", "ffff0000", "00000000"])
def test_other_protocol_versions_are_refused(version: str) -> None:
    with pytest.raises(ProtocolViolation, match="unsupported frontend protocol"):
        a.parse_first_packet(bytes.fromhex("00000009" + version) + b"\0")


@pytest.mark.parametrize("size", [0, 3, 257, 1000])
def test_cancel_keys_of_impossible_sizes(size: int) -> None:
    with pytest.raises(ProtocolViolation):
        a.parse_first_packet(a.encode_cancel(1, bytes(size)))
    if size < 1000:
        with pytest.raises(ProtocolViolation):
            a.parse_backend_key(a.encode_backend_key(a.BackendKey(1, bytes(size))))


def test_a_startup_packet_never_says_a_thing_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        a.encode_startup(0, [("user", "a"), ("user", "b")])
    with pytest.raises(ValueError, match="empty"):
        a.encode_startup(0, [("", "a")])
    with pytest.raises(ValueError, match="NUL"):
        a.encode_startup(0, [("x", "1\0user\0postgres")])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("52 00000008 00000000", a.AuthenticationOk()),
        ("52 00000008 00000003", a.AuthenticationCleartext()),
        ("52 0000000c 00000005 01020304", a.AuthenticationMd5(b"\1\2\3\4")),
        (
            "52 00000017 0000000a 534352414d2d5348412d32353600 00",
            a.AuthenticationSasl(("SCRAM-SHA-256",)),
        ),
        ("52 0000000a 0000000b 7220", a.AuthenticationSaslContinue(b"r ")),
        ("52 0000000a 0000000c 763d", a.AuthenticationSaslFinal(b"v=")),
        ("52 00000008 00000007", a.AuthenticationOther(7)),
    ],
)
def test_authentication_requests(text: str, value: a.Authentication) -> None:
    assert a.parse_authentication(bytes.fromhex(text)) == value


def test_messages_of_the_gate() -> None:
    assert a.encode_password("pw").hex() == "7000000007707700"
    assert a.parse_password(a.encode_password("pässwörd")) == "pässwörd"
    initial = a.encode_sasl_initial("SCRAM-SHA-256", b"n,,")
    assert initial == b"p\0\0\0\x19SCRAM-SHA-256\0\0\0\0\3n,,"
    assert a.encode_sasl_response(b"c=") == b"p\0\0\0\6c="
    assert a.parse_authentication(a.encode_authentication_sasl(["X", "Y"])) == (
        a.AuthenticationSasl(("X", "Y"))
    )
    assert a.AUTHENTICATION_CLEARTEXT.hex() == "520000000800000003"


def test_version_negotiation() -> None:
    offer = a.NegotiateProtocolVersion(2, ("_pq_.x",))
    assert a.encode_negotiate(offer).hex() == "76000000130003000200000001" + (b"_pq_.x\0".hex())
    assert a.parse_negotiate(a.encode_negotiate(offer)) == offer
    bare = bytes.fromhex("76 0000000c 00000000 00000000")
    assert a.parse_negotiate(bare) == a.NegotiateProtocolVersion(0)
    for body in (
        "00030000 00000001",
        "00030000 ffffffff",
        "00030000 7fffffff",
        "00040000 00000000",
    ):
        with pytest.raises(ProtocolViolation):
            a.parse_negotiate(b"v\0\0\0\x0c" + bytes.fromhex(body))


def test_secrets_do_not_show_in_what_is_logged() -> None:
    secret = b"hushhush"
    assert "hush" not in repr(a.BackendKey(1, secret))
    assert "hush" not in repr(a.CancelRequest(1, secret))


@given(st.binary(max_size=200))
def test_arbitrary_packets(body: bytes) -> None:
    for parse in (a.parse_first_packet, a.parse_authentication, a.parse_negotiate):
        with contextlib.suppress(TaskgateError):
            parse(body)
