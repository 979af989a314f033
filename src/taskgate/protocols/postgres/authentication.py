"""The packets and messages of starting up and signing in, as bytes and as values.

Source: PostgreSQL documentation, "Message Formats", "Start-up", "SASL Authentication",
"Cancelling Requests in Progress"; versions 3.0 and 3.2.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from taskgate.model.errors import ProtocolViolation
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.reader import INT32, UINT32, Reader, encode_text, frame

PROTOCOL_MAJOR: Final = 3
NEWEST_MINOR: Final = 2
# A 3.0 client keeps four bytes of cancel key; 3.2 allows more.
SHORT_SECRET_BYTES: Final = 4
MAX_SECRET_BYTES: Final = 256

_CANCEL_CODE: Final = (1234 << 16) | 5678
_SSL_CODE: Final = (1234 << 16) | 5679
_GSSENC_CODE: Final = (1234 << 16) | 5680


@dataclass(frozen=True, slots=True)
class StartupPacket:
    """`parameters` in their order, names as sent."""

    major: int
    minor: int
    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Asks to cancel what the session of that key is doing. `secret` is 4 to 256 bytes."""

    process_id: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SslRequest:
    pass


@dataclass(frozen=True, slots=True)
class GssEncRequest:
    pass


FirstPacket = StartupPacket | CancelRequest | SslRequest | GssEncRequest


def _packet(body: bytes) -> bytes:
    return UINT32.pack(len(body) + 4) + body


SSL_REQUEST: Final = _packet(UINT32.pack(_SSL_CODE))
GSSENC_REQUEST: Final = _packet(UINT32.pack(_GSSENC_CODE))


def encode_startup(minor: int, parameters: Iterable[tuple[str, str]]) -> bytes:
    """A StartupMessage of version 3.`minor`.

    Raises:
        ValueError: a parameter's name is empty or given twice, which would change what the others
            mean to the server.
    """
    body = [UINT32.pack((PROTOCOL_MAJOR << 16) | minor)]
    seen: set[str] = set()
    for name, value in parameters:
        if not name or name in seen:
            raise ValueError(f"startup parameter {name!r} is empty or given twice")
        seen.add(name)
        body.append(encode_text(name))
        body.append(encode_text(value))
    body.append(b"\0")
    return _packet(b"".join(body))


def encode_cancel(process_id: int, secret: bytes) -> bytes:
    """A CancelRequest."""
    return _packet(UINT32.pack(_CANCEL_CODE) + INT32.pack(process_id) + secret)


def parse_first_packet(packet: bytes) -> FirstPacket:
    """What a client may send before it has a session: length, code, body; no type byte.

    Raises:
        ProtocolViolation: malformed.
        BadText: a parameter is not UTF-8.
    """
    reader = Reader(packet, 4)
    code = reader.uint32()
    if code in (_SSL_CODE, _GSSENC_CODE):
        _finish(reader)
        return SslRequest() if code == _SSL_CODE else GssEncRequest()
    if code == _CANCEL_CODE:
        process_id = reader.int32()
        secret = reader.rest()
        if not SHORT_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
            raise ProtocolViolation(f"a cancel request with a key of {len(secret)} bytes")
        return CancelRequest(process_id, secret)
    major, minor = code >> 16, code & 0xFFFF
    if major != PROTOCOL_MAJOR:
        raise ProtocolViolation(
            f"unsupported frontend protocol {major}.{minor}: this gateway speaks 3.0 and 3.2"
        )
    parameters: list[tuple[str, str]] = []
    while True:
        name = reader.text()
        if not name:
            break
        parameters.append((name, reader.text()))
    _finish(reader)
    return StartupPacket(major, minor, tuple(parameters))


def _finish(reader: Reader) -> None:
    if reader.pos != reader.end:
        raise ProtocolViolation("a startup packet is malformed: bytes after its end")


@dataclass(frozen=True, slots=True)
class AuthenticationOk:
    pass


@dataclass(frozen=True, slots=True)
class AuthenticationCleartext:
    pass


@dataclass(frozen=True, slots=True)
class AuthenticationMd5:
    """`salt` is 4 bytes."""

    salt: bytes


@dataclass(frozen=True, slots=True)
class AuthenticationSasl:
    mechanisms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuthenticationSaslContinue:
    data: bytes


@dataclass(frozen=True, slots=True)
class AuthenticationSaslFinal:
    data: bytes


@dataclass(frozen=True, slots=True)
class AuthenticationOther:
    """A method that the gate does not speak (GSSAPI, SSPI, Kerberos, ...)."""

    code: int


Authentication = (
    AuthenticationOk
    | AuthenticationCleartext
    | AuthenticationMd5
    | AuthenticationSasl
    | AuthenticationSaslContinue
    | AuthenticationSaslFinal
    | AuthenticationOther
)


def parse_authentication(data: bytes) -> Authentication:
    """What the server wants next."""
    reader = Reader(data)
    code = reader.int32()
    answer: Authentication
    match code:
        case 0:
            answer = AuthenticationOk()
        case 3:
            answer = AuthenticationCleartext()
        case 5:
            answer = AuthenticationMd5(reader.raw(4))
        case 10:
            mechanisms: list[str] = []
            while mechanism := reader.text():
                mechanisms.append(mechanism)
            answer = AuthenticationSasl(tuple(mechanisms))
        case 11:
            answer = AuthenticationSaslContinue(reader.rest())
        case 12:
            answer = AuthenticationSaslFinal(reader.rest())
        case _:
            return AuthenticationOther(code)
    reader.finish()
    return answer


AUTHENTICATION_OK: Final = frame(tags.AUTHENTICATION, INT32.pack(0))
AUTHENTICATION_CLEARTEXT: Final = frame(tags.AUTHENTICATION, INT32.pack(3))


def encode_authentication_sasl(mechanisms: Iterable[str]) -> bytes:
    names = b"".join([encode_text(name) for name in mechanisms])
    return frame(tags.AUTHENTICATION, INT32.pack(10) + names + b"\0")


def encode_password(password: str) -> bytes:
    """A PasswordMessage; for md5 the caller gives the hash."""
    return frame(tags.PASSWORD, encode_text(password))


def parse_password(data: bytes) -> str:
    reader = Reader(data)
    password = reader.text()
    reader.finish()
    return password


def encode_sasl_initial(mechanism: str, response: bytes) -> bytes:
    """A SASLInitialResponse."""
    return frame(tags.PASSWORD, encode_text(mechanism) + INT32.pack(len(response)) + response)


def encode_sasl_response(response: bytes) -> bytes:
    return frame(tags.PASSWORD, response)


@dataclass(frozen=True, slots=True)
class BackendKey:
    """What a cancel request must show. 4 bytes of secret under 3.0, up to 256 under 3.2."""

    process_id: int
    secret: bytes = field(repr=False)


def parse_backend_key(data: bytes) -> BackendKey:
    reader = Reader(data)
    process_id = reader.int32()
    secret = reader.rest()
    if not SHORT_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise ProtocolViolation(f"message 'K' is malformed: a key of {len(secret)} bytes")
    return BackendKey(process_id, secret)


def encode_backend_key(key: BackendKey) -> bytes:
    return frame(tags.BACKEND_KEY_DATA, INT32.pack(key.process_id) + key.secret)


@dataclass(frozen=True, slots=True)
class NegotiateProtocolVersion:
    """The server speaks 3.`minor` and does not know `unknown` options."""

    minor: int
    unknown: tuple[str, ...] = ()


def parse_negotiate(data: bytes) -> NegotiateProtocolVersion:
    """Servers before 18 told the minor version alone or the whole one; both are read."""
    reader = Reader(data)
    version = reader.uint32()
    unknown = tuple([reader.text() for _ in range(_option_count(reader))])
    reader.finish()
    if version >> 16 not in (0, PROTOCOL_MAJOR):
        raise ProtocolViolation("message 'v' is malformed: another major version")
    return NegotiateProtocolVersion(version & 0xFFFF, unknown)


def _option_count(reader: Reader) -> int:
    count = reader.int32()
    if not 0 <= count <= reader.end - reader.pos:
        raise ProtocolViolation("message 'v' is malformed: it ends early")
    return count


def encode_negotiate(message: NegotiateProtocolVersion) -> bytes:
    names = b"".join([encode_text(name) for name in message.unknown])
    return frame(
        tags.NEGOTIATE_PROTOCOL_VERSION,
        UINT32.pack((PROTOCOL_MAJOR << 16) | message.minor)
        + INT32.pack(len(message.unknown))
        + names,
    )
