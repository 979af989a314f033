"""The server's side of starting up: from the first byte to a user name and a password or token.

Source: PostgreSQL documentation, "Start-up", "SSL Session Encryption" (also its warning of bytes
sent before the handshake), "GSSAPI Session Encryption"; versions 3.0 and 3.2.
"""

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, assert_never

from taskgate.model import limits
from taskgate.model.errors import (
    NotAuthenticated,
    OverLimit,
    ProtocolViolation,
    TaskgateError,
)
from taskgate.protocols.postgres import oauth_bearer, tags
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
from taskgate.protocols.postgres.oauth_bearer import Offers
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
    BEARER = 3
    DISCOVERED = 4
    DONE = 5


class ServerStartup:
    """Feed it what the client sends and do the steps it gives, until a StartupRequest or a
    CancelRequest comes. Any error ends the connection.

    `offers_tls`: a certificate is at hand. `takes_plaintext`: this client may sign in without
    TLS (the configuration says so and both ends are on this machine). `offers`: the identity
    providers that clients may get a token from by themselves.
    """

    def __init__(
        self,
        *,
        offers_tls: bool,
        takes_plaintext: bool,
        offers: Offers = MappingProxyType({}),
    ) -> None:
        self._offers_tls = offers_tls
        self._takes_plaintext = takes_plaintext
        self._offers = offers
        self._buffer = bytearray()
        self._phase = _Phase.PACKET
        self._tls = False
        self._direct = False
        self._asked_ssl = False
        self._asked_gss = False
        self._first = True
        self._minor = 0
        self._wanted: Wanted | None = None
        self._asked_again = False

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
            case _Phase.BEARER:
                return self._read_bearer()
            case _Phase.DISCOVERED:
                return self._read_acknowledged()
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
        reply, phase = AUTHENTICATION_CLEARTEXT, _Phase.PASSWORD
        if wanted.provider:
            if wanted.provider not in self._offers:
                raise NotAuthenticated(
                    f"no identity provider {wanted.provider!r} gives tokens for this gateway",
                    hint=_named(self._offers),
                )
            reply, phase = oauth_bearer.ASK, _Phase.BEARER
        if minor != packet.minor or wanted.unknown:
            reply = encode_negotiate(NegotiateProtocolVersion(minor, wanted.unknown)) + reply
        self._wanted = wanted
        self._minor = minor
        self._phase = phase
        return Send(reply)

    def _read_password(self) -> Step | None:
        message = self._read_message()
        if message is None:
            return None
        return self._request(parse_password(message))

    def _read_bearer(self) -> Step | None:
        message = self._read_message()
        if message is None:
            return None
        response: bytes | None
        if self._asked_again:
            response = oauth_bearer.parse_response(message)
        else:
            response = oauth_bearer.parse_initial(message)
            if response is None:
                # SASL lets a client wait to be asked (RFC 4422 section 3).
                self._asked_again = True
                return Send(oauth_bearer.encode_continue(b""))
        token = oauth_bearer.token_in(response)
        if token:
            return self._request(token)
        wanted = self._wanted
        if wanted is None:
            raise ProtocolViolation("a token before a startup packet")
        self._phase = _Phase.DISCOVERED
        return Send(oauth_bearer.encode_discovery(self._offers[wanted.provider]))

    def _read_acknowledged(self) -> Step | None:
        message = self._read_message()
        if message is None:
            return None
        if oauth_bearer.parse_response(message) != oauth_bearer.ACKNOWLEDGED:
            raise ProtocolViolation("a malformed OAUTHBEARER message after its end")
        self._phase = _Phase.DONE
        # The client asked where to sign in, and comes again with what it gets there.
        raise Discovery

    def _request(self, secret: str) -> Step:
        if self._wanted is None:
            raise ProtocolViolation("a password before a startup packet")
        self._phase = _Phase.DONE
        return self._wanted.request(self._minor, secret)

    def _read_message(self) -> bytes | None:
        """One message of type `p`, whole: a password or a SASL response."""
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
        return message


class Discovery(NotAuthenticated):
    """A client came to hear where it can sign in, and was told. Nobody tried to get in."""

    def __init__(self) -> None:
        super().__init__(
            "sign in at the identity provider first",
            hint="psql 18 and later do so by themselves: give oauth_issuer and oauth_client_id.",
        )


def _named(offers: Offers) -> str:
    if not offers:
        return "Connect with a token as the password, and without @ in the user name."
    return f"Connect with user=TASK@PROVIDER; there are: {', '.join(sorted(offers))}."


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
