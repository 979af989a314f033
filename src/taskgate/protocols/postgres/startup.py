"""The server's side of starting up: from the first byte to a user name and a password.

Source: PostgreSQL documentation, "Start-up", "SSL Session Encryption" (also its warning of bytes
sent before the handshake), "GSSAPI Session Encryption"; versions 3.0 and 3.2.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, assert_never

from taskgate.model import limits
from taskgate.model.errors import (
    NotAuthenticated,
    OverLimit,
    ProtocolViolation,
    TaskgateError,
)
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.authentication import (
    AUTHENTICATION_CLEARTEXT,
    NEWEST_MINOR,
    CancelRequest,
    FirstPacket,
    GssEncRequest,
    NegotiateProtocolVersion,
    SslRequest,
    StartupPacket,
    encode_negotiate,
    parse_first_packet,
    parse_password,
)
from taskgate.protocols.postgres.reader import HEADER, UINT32
from taskgate.protocols.postgres.startup_options import StartupRequest, Wanted, sort_parameters

ALPN: Final = "postgresql"
_TLS_HANDSHAKE: Final = 0x16
# A packet, a password, and what an eager client pipelines behind them.
_MAX_BYTES: Final = limits.MAX_STARTUP_BYTES + limits.MAX_PASSWORD_BYTES + limits.MAX_WAITING_BYTES
# 3.1 was never a version; whoever asks for it gets the one before.
_NEVER_EXISTED: Final = 1


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes and go on."""

    data: bytes


@dataclass(frozen=True, slots=True)
class BeginTls:
    """Write `reply`, do the handshake (with `received` as its first bytes), then tell
    `ServerStartup.tls_started`. `direct`: the client began it without asking (PostgreSQL 17)."""

    reply: bytes
    received: bytes = b""
    direct: bool = False


Step = Send | BeginTls | CancelRequest | StartupRequest


class _Phase(Enum):
    PACKET = 0
    TLS = 1
    PASSWORD = 2
    DONE = 3


class ServerStartup:
    """Feed it what the client sends and do the steps it gives, until a StartupRequest or a
    CancelRequest comes. Any error ends the connection.

    `offers_tls`: a certificate is at hand. `takes_plaintext`: this client may sign in without
    TLS (the configuration says so and both ends are on this machine).
    """

    def __init__(self, *, offers_tls: bool, takes_plaintext: bool) -> None:
        self._offers_tls = offers_tls
        self._takes_plaintext = takes_plaintext
        self._buffer = bytearray()
        self._phase = _Phase.PACKET
        self._tls = False
        self._direct = False
        self._asked_ssl = False
        self._asked_gss = False
        self._first = True
        self._minor = 0
        self._wanted: Wanted | None = None

    @property
    def tls(self) -> bool:
        """Whether the client's bytes come through TLS."""
        return self._tls

    def feed(self, data: bytes) -> None:
        """Take what the client sent.

        Raises:
            OverLimit: more than a startup packet and a password can be.
        """
        if len(self._buffer) + len(data) > _MAX_BYTES:
            raise OverLimit("the client sent too much before it signed in")
        self._buffer += data

    def rest(self) -> bytes:
        """What came after the password; the session's framer reads it."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def tls_started(self, alpn: str | None) -> None:
        """The handshake is done; `alpn` is the protocol that was agreed on.

        Raises:
            ProtocolViolation: TLS without asking, but not for PostgreSQL: it may be bytes meant
                for another protocol.
        """
        if self._phase is not _Phase.TLS:
            raise ProtocolViolation("TLS was started twice")
        if self._direct and alpn != ALPN:
            raise ProtocolViolation(
                "TLS without an SSLRequest must negotiate the protocol 'postgresql' (ALPN)"
            )
        self._tls = True
        self._phase = _Phase.PACKET

    def advance(self) -> Step | None:
        """The next step, None if more must come from the client first.

        Raises:
            TaskgateError: the client is refused; say so and close.
        """
        match self._phase:
            case _Phase.PACKET:
                return self._read_packet()
            case _Phase.PASSWORD:
                return self._read_password()
            case _Phase.TLS | _Phase.DONE:
                return None
            case _:
                assert_never(self._phase)

    def _read_packet(self) -> Step | None:
        if self._first and self._buffer and self._buffer[0] == _TLS_HANDSHAKE:
            return self._begin_direct_tls()
        if len(self._buffer) < 4:
            return None
        self._first = False
        (length,) = UINT32.unpack_from(self._buffer)
        if not 8 <= length <= limits.MAX_STARTUP_BYTES:
            raise ProtocolViolation(
                f"invalid length of startup packet: {length}",
                hint="This port speaks the PostgreSQL protocol.",
            )
        if len(self._buffer) < length:
            return None
        packet = bytes(self._buffer[:length])
        del self._buffer[:length]
        return self._answer(parse_first_packet(packet))

    def _answer(self, packet: FirstPacket) -> Step:
        match packet:
            case SslRequest():
                return self._answer_ssl()
            case GssEncRequest():
                if self._tls or self._asked_gss:
                    raise ProtocolViolation("encryption was asked for twice")
                self._asked_gss = True
                self._nothing_pipelined()
                return Send(b"N")
            case CancelRequest():
                self._nothing_pipelined()
                self._phase = _Phase.DONE
                return packet
            case StartupPacket():
                return self._open(packet)
            case _:
                assert_never(packet)

    def _answer_ssl(self) -> Step:
        if self._tls or self._asked_ssl:
            raise ProtocolViolation("encryption was asked for twice")
        self._asked_ssl = True
        self._nothing_pipelined()
        if not self._offers_tls:
            return Send(b"N")
        self._phase = _Phase.TLS
        return BeginTls(b"S")

    def _nothing_pipelined(self) -> None:
        """What comes in the clear before the answer could be another's, put in front of the
        client's own bytes (CVE-2021-23214)."""
        if self._buffer:
            raise ProtocolViolation(
                "received unencrypted data after an encryption request",
                hint="It may have been put in by someone between the client and the gateway.",
            )

    def _begin_direct_tls(self) -> Step:
        if not self._offers_tls:
            raise ProtocolViolation("this gateway was not given a certificate, and speaks no TLS")
        self._first = False
        self._direct = True
        self._phase = _Phase.TLS
        return BeginTls(b"", self.rest(), direct=True)

    def _open(self, packet: StartupPacket) -> Step:
        if not self._tls and not self._takes_plaintext:
            raise _tls_needed(self._offers_tls)
        wanted = sort_parameters(packet.parameters)
        minor = min(packet.minor, NEWEST_MINOR)
        if minor == _NEVER_EXISTED:
            minor = 0
        reply = AUTHENTICATION_CLEARTEXT
        if minor != packet.minor or wanted.unknown:
            reply = encode_negotiate(NegotiateProtocolVersion(minor, wanted.unknown)) + reply
        self._wanted = wanted
        self._minor = minor
        self._phase = _Phase.PASSWORD
        return Send(reply)

    def _read_password(self) -> Step | None:
        if len(self._buffer) < HEADER.size:
            return None
        tag, length = HEADER.unpack_from(self._buffer)
        if tag != tags.PASSWORD:
            raise ProtocolViolation(f"expected a password, got a message of type {chr(tag)!r}")
        if length < 4:
            raise ProtocolViolation(f"a password message of impossible length {length}")
        if length > limits.MAX_PASSWORD_BYTES:
            raise OverLimit(f"a password longer than {limits.MAX_PASSWORD_BYTES} bytes")
        if len(self._buffer) < length + 1:
            return None
        message = bytes(self._buffer[: length + 1])
        del self._buffer[: length + 1]
        if self._wanted is None:
            raise ProtocolViolation("a password before a startup packet")
        self._phase = _Phase.DONE
        return self._wanted.request(self._minor, parse_password(message))


def _tls_needed(offers_tls: bool) -> TaskgateError:
    if not offers_tls:
        return NotAuthenticated(
            "this gateway takes no connection without TLS from here, and was given no certificate",
            hint="Connect from the gateway's own machine, or have a certificate configured.",
        )
    return NotAuthenticated(
        "this gateway takes connections over TLS only",
        hint="Connect with sslmode=verify-full and the certificate that `taskgate ca` prints.",
    )
