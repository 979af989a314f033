"""The gate's own signing in to a resource.

Source: PostgreSQL documentation, "Start-up", "SASL Authentication", "Error and Notice Message
Fields"; RFC 5802 for SCRAM.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, assert_never

from taskgate.model import limits
from taskgate.model.errors import OverLimit, TaskgateError, Unreadable, UpstreamFault
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.authentication import (
    AuthenticationCleartext,
    AuthenticationMd5,
    AuthenticationOk,
    AuthenticationOther,
    AuthenticationSasl,
    AuthenticationSaslContinue,
    AuthenticationSaslFinal,
    BackendKey,
    encode_password,
    encode_sasl_initial,
    encode_sasl_response,
    encode_startup,
    parse_authentication,
    parse_backend_key,
    parse_negotiate,
)
from taskgate.protocols.postgres.frames import BackendFramer
from taskgate.protocols.postgres.messages import (
    ServerReport,
    parse_parameter_status,
    parse_ready_for_query,
    parse_report,
)
from taskgate.protocols.postgres.scram import (
    SCRAM,
    SCRAM_PLUS,
    Binding,
    ScramClient,
    md5_answer,
    tls_server_end_point,
)
from taskgate.protocols.postgres.startup_options import PROTOCOL_OPTION_PREFIX, RESERVED

_METHODS: Final = {2: "Kerberos V5", 7: "GSSAPI", 9: "SSPI"}
_CREDENTIAL_REFUSED: Final = "28"


@dataclass(frozen=True, slots=True)
class Channel:
    """What the login's bytes travel through. `certificate` is the server's, in DER, "" without TLS;
    `verified` says that its issuer was checked."""

    tls: bool = False
    verified: bool = False
    certificate: bytes = b""


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """As whom, where to, and with what settings. `password` None: the credential has none.

    `settings` are passed as startup parameters (`application_name` too). `allow_md5` False refuses
    a server that asks for md5.
    """

    user: str
    database: str
    password: str | None = field(repr=False)
    settings: tuple[tuple[str, str], ...] = ()
    minor: int = 0
    allow_md5: bool = True


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A session of the resource, ready for its first query.

    `parameters` is what ParameterStatus told, the last value of each; `status` the transaction's
    state; `notices` the NoticeResponse frames that came; `leftover` what arrived after
    ReadyForQuery, for the session's framer.
    """

    parameters: tuple[tuple[str, str], ...]
    key: BackendKey | None
    minor: int
    status: str
    notices: tuple[bytes, ...]
    leftover: bytes


class LoginRefused(UpstreamFault):
    """The resource answered the login with an error.

    `server_sqlstate` and `server_message` are the server's own words, for the operator's log; they
    never hold the password. What is wrong with the gate's credential is the operator's to know, so
    `message`, which the client sees, does not repeat it; other reasons (no such database, too
    many connections, starting up) it does, under their own SQLSTATE.
    """

    def __init__(self, report: ServerReport, password: str | None) -> None:
        text = report.get("M")
        self.server_sqlstate = report.get("C") or "08004"
        if password and any(password in value for _, value in report.fields):
            text = "(not shown: it holds the credential)"
        self.server_message = text
        if self.server_sqlstate.startswith(_CREDENTIAL_REFUSED):
            super().__init__(
                "the resource refuses the gateway's own sign-in",
                hint="Whoever runs the gateway finds the resource's reason in its log.",
            )
            self.sqlstate = "08004"
        else:
            super().__init__(f"the resource refuses the connection: {text}")
            self.sqlstate = self.server_sqlstate


class _Phase(Enum):
    ASKED = 0
    ANSWERED = 1
    SCRAM_FIRST = 2
    SCRAM_FINAL = 3
    VERIFIED = 4
    SIGNED_IN = 5
    READY = 6


class Login:
    """Write `start()`, then feed what the server sends and write what `feed` returns, until
    `result` is there. `nonce` is as for `ScramClient`."""

    def __init__(self, request: LoginRequest, channel: Channel, nonce: str) -> None:
        self._request = request
        self._channel = channel
        self._nonce = nonce
        self._framer = BackendFramer(limits.MAX_LOGIN_BYTES)
        self._phase = _Phase.ASKED
        self._scram: ScramClient | None = None
        self._fed = 0
        self._minor = request.minor
        self._negotiated = False
        self._parameters: dict[str, str] = {}
        self._key: BackendKey | None = None
        self._notices: list[bytes] = []
        self.result: LoggedIn | None = None

    def start(self) -> bytes:
        """The startup packet.

        Raises:
            UpstreamFault: a setting cannot be passed on.
        """
        request = self._request
        parameters = [("user", request.user)]
        if request.database:
            parameters.append(("database", request.database))
        for name, value in request.settings:
            # Under such a name a setting would choose another user or open a replication stream.
            if name.lower() in RESERVED or name.lower().startswith(PROTOCOL_OPTION_PREFIX):
                raise UpstreamFault(f"startup setting {name!r} cannot be passed to a resource")
            parameters.append((name, value))
        try:
            packet = encode_startup(request.minor, parameters)
        except ValueError as error:
            raise UpstreamFault(
                f"a startup setting cannot be passed to a resource: {error}"
            ) from None
        if len(packet) > limits.MAX_STARTUP_BYTES:
            raise UpstreamFault("the startup settings are longer than a resource takes")
        return packet

    def feed(self, data: bytes) -> bytes:
        """What to send in answer to `data`, b"" for nothing.

        Raises:
            UpstreamFault: the server refuses, asks for something it shall not get, or breaks the
                protocol. Its message never holds the credential.
        """
        self._fed += len(data)
        if self._fed > limits.MAX_LOGIN_BYTES:
            raise UpstreamFault("the resource sent too much before it was ready")
        answers: list[bytes] = []
        try:
            self._framer.feed(data)
            while self.result is None and (frame := self._framer.take()) is not None:
                answers.append(self._receive(frame))
        except (Unreadable, OverLimit) as error:
            raise UpstreamFault(f"the resource broke the protocol: {error.message}") from None
        return b"".join(answers)

    def _receive(self, frame: bytes) -> bytes:
        match frame[0]:
            case tags.ERROR_RESPONSE:
                raise LoginRefused(parse_report(frame), self._request.password)
            case tags.NOTICE_RESPONSE:
                self._notices.append(frame)
            case tags.NEGOTIATE_PROTOCOL_VERSION:
                self._negotiate(frame)
            case tags.AUTHENTICATION:
                return self._authenticate(frame)
            case _ if self._phase is not _Phase.SIGNED_IN:
                raise _unexpected(frame)
            case tags.PARAMETER_STATUS:
                name, value = parse_parameter_status(frame)
                self._parameters[name] = value
            case tags.BACKEND_KEY_DATA:
                self._key = parse_backend_key(frame)
            case tags.READY_FOR_QUERY:
                self._finish(parse_ready_for_query(frame))
            case _:
                raise _unexpected(frame)
        return b""

    def _finish(self, status: str) -> None:
        self._phase = _Phase.READY
        self.result = LoggedIn(
            tuple(self._parameters.items()),
            self._key,
            self._minor,
            status,
            tuple(self._notices),
            self._framer.rest(),
        )

    def _negotiate(self, frame: bytes) -> None:
        offer = parse_negotiate(frame)
        if self._phase is not _Phase.ASKED or self._negotiated or offer.unknown:
            raise _unexpected(frame)
        if offer.minor >= self._minor or offer.minor == 1:
            raise UpstreamFault(
                f"the resource offers protocol 3.{offer.minor}, which was not asked"
            )
        self._negotiated = True
        self._minor = offer.minor

    def _authenticate(self, frame: bytes) -> bytes:
        wanted = parse_authentication(frame)
        match wanted:
            case AuthenticationOk():
                # In the middle of an exchange it would skip the proof that the server, too, knows
                # the password.
                self._expect(frame, _Phase.ASKED, _Phase.ANSWERED, _Phase.VERIFIED)
                self._phase = _Phase.SIGNED_IN
                return b""
            case AuthenticationCleartext():
                self._expect(frame, _Phase.ASKED)
                self._phase = _Phase.ANSWERED
                return self._cleartext()
            case AuthenticationMd5(salt):
                self._expect(frame, _Phase.ASKED)
                self._phase = _Phase.ANSWERED
                return self._md5(salt)
            case AuthenticationSasl(mechanisms):
                self._expect(frame, _Phase.ASKED)
                self._phase = _Phase.SCRAM_FIRST
                return self._begin_scram(mechanisms)
            case AuthenticationSaslContinue(data):
                self._expect(frame, _Phase.SCRAM_FIRST)
                self._phase = _Phase.SCRAM_FINAL
                return encode_sasl_response(self._exchange(frame).final(data))
            case AuthenticationSaslFinal(data):
                self._expect(frame, _Phase.SCRAM_FINAL)
                self._exchange(frame).verify(data)
                self._phase = _Phase.VERIFIED
                return b""
            case AuthenticationOther(code):
                method = _METHODS.get(code, f"number {code}")
                raise UpstreamFault(
                    f"the resource asks for a sign-in that the gateway does not speak: {method}",
                    hint="Use scram-sha-256, a client certificate, md5, or a password over TLS.",
                )
            case _:
                assert_never(wanted)

    def _expect(self, frame: bytes, *phases: _Phase) -> None:
        if self._phase not in phases:
            raise _unexpected(frame)

    def _exchange(self, frame: bytes) -> ScramClient:
        if self._scram is None:
            raise _unexpected(frame)
        return self._scram

    def _password(self) -> str:
        if self._request.password is None:
            raise UpstreamFault(
                "the resource asks for a password, and its credential here has none",
                hint="Add `password` to the resource's credential.",
            )
        password = self._request.password
        if "\0" in password or any("\ud800" <= char <= "\udfff" for char in password):
            # Encoding it would fail with an exception that quotes it.
            raise UpstreamFault("the resource's password here is not text in UTF-8, or has a NUL")
        return password

    def _cleartext(self) -> bytes:
        if not self._channel.verified:
            raise UpstreamFault(
                "the resource asks for its password in clear, and who it is was not verified",
                hint="Use `tls: verify-full` (or verify-ca), or scram-sha-256 on the resource.",
            )
        return encode_password(self._password())

    def _md5(self, salt: bytes) -> bytes:
        if not self._request.allow_md5:
            raise UpstreamFault(
                "the resource asks for an md5 password, which is switched off here",
                hint="Use scram-sha-256 on the resource.",
            )
        return encode_password(md5_answer(self._request.user, self._password(), salt))

    def _begin_scram(self, mechanisms: Sequence[str]) -> bytes:
        """As libpq with channel_binding=prefer."""
        password = self._password()
        end_point = tls_server_end_point(self._channel.certificate) if self._channel.tls else None
        if SCRAM_PLUS in mechanisms and not self._channel.tls:
            raise UpstreamFault(
                "the resource offers channel binding on a connection that has no TLS",
                hint="Something between the gateway and the resource may end its TLS.",
            )
        if end_point is None:
            binding = Binding.UNABLE
        elif SCRAM_PLUS in mechanisms:
            binding = Binding.BOUND
        else:
            binding = Binding.NOT_OFFERED
        if binding is not Binding.BOUND and SCRAM not in mechanisms:
            raise UpstreamFault("the resource offers no SASL mechanism that the gateway speaks")
        self._scram = ScramClient(password, self._nonce, binding, end_point or b"")
        return encode_sasl_initial(self._scram.mechanism, self._scram.first())


def _unexpected(frame: bytes) -> TaskgateError:
    return UpstreamFault(
        f"the resource broke the protocol: message {chr(frame[0])!r} does not belong here"
    )
