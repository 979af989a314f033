"""TLS contexts: the listeners', which follow their files, and those towards resources.

Sources: RFC 9325 (versions), RFC 7301 (ALPN), PostgreSQL documentation, "SSL Support" (what the
modes require and verify) and "SSL Session Encryption".
"""

import asyncio
import hashlib
import os
import ssl
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from taskgate.gateway.certificates import ServerCertificate
from taskgate.model import limits
from taskgate.model.errors import BadConfig
from taskgate.model.resource import TlsMode


class ListenerTls:
    """A listener's certificate, and its context for new connections.

    `source` gives the certificate to serve with at a time (seconds since the epoch); it may make or
    renew it. Connections that are open keep what they began with.
    """

    def __init__(
        self, source: Callable[[float], ServerCertificate], now: float, alpn: Sequence[str] = ()
    ) -> None:
        """Raises: BadConfig where the certificate cannot be served."""
        self._source = source
        self._alpn = list(alpn)
        self._certificate = source(now)
        self._seen = _stamps(self._certificate)
        self._context = self._make()

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection; ask anew each time."""
        return self._context

    @property
    def ca_pem(self) -> str:
        """What clients should trust; "" where their system's own list does."""
        return self._certificate.trust_pem

    def refresh(self, now: float) -> bool:
        """Takes up a certificate that was renewed or replaced; True if there was one.

        Raises:
            BadConfig: the new one cannot be served. The old one stays in use, and the next call
                tries again (its two files may have been half replaced).
        """
        certificate = self._source(now)
        seen = _stamps(certificate)
        if seen == self._seen:
            return False
        before = self._certificate
        self._certificate = certificate
        try:
            # A new context: loading into the one in use would leave it without a key on failure.
            self._context = self._make()
        except BadConfig:
            self._certificate = before
            raise
        self._seen = seen
        return True

    def _make(self) -> ssl.SSLContext:
        context = self._certificate.context()
        if self._alpn:
            context.set_alpn_protocols(self._alpn)
        return context


def _stamps(certificate: ServerCertificate) -> tuple[tuple[int, int, int], ...]:
    try:
        found = [path.stat() for path in (certificate.cert, certificate.key)]
    except OSError as error:
        raise BadConfig(f"cannot read the listener's certificate: {error}") from None
    return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in found)


async def start_server_tls(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    *,
    received: bytes = b"",
    timeout_s: float = limits.LOGIN_TIMEOUT_S,
) -> asyncio.Transport:
    """The server's side of a handshake on an accepted connection; the transport to use from then
    on. `received` are bytes of the handshake that were read already (a client that began TLS
    without asking). `protocol` may get its first data before this returns.

    Raises:
        OSError: the handshake failed (ssl.SSLError), timed out, or the client went away.
    """
    loop = asyncio.get_running_loop()
    handshake = loop.create_task(
        loop.start_tls(
            transport, protocol, context, server_side=True, ssl_handshake_timeout=timeout_s
        )
    )
    if received:
        try:
            # The task sets its own protocol on the transport in its first step, and reads on from
            # the socket; what was read before comes first.
            await asyncio.sleep(0)
            _hand_over(transport.get_protocol(), received)
        except BaseException:
            handshake.cancel()
            raise
    upgraded = await handshake
    if upgraded is None:
        raise ConnectionResetError("the client went away during the TLS handshake")
    return upgraded


def _hand_over(protocol: asyncio.BaseProtocol, data: bytes) -> None:
    # Both loops' TLS protocols have this interface; uvloop's does not inherit from it.
    if not hasattr(protocol, "get_buffer"):
        raise ConnectionResetError("the TLS handshake ended before it began")
    handshake = cast(asyncio.BufferedProtocol, protocol)
    rest = memoryview(data)
    while rest:
        buffer = memoryview(handshake.get_buffer(len(rest)))
        taken = min(len(buffer), len(rest))
        buffer[:taken] = rest[:taken]
        handshake.buffer_updated(taken)
        rest = rest[taken:]


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What the gate shows a resource: PEM text, the chain first certificate first."""

    certificate: str
    private_key: str = field(repr=False)


def upstream_context(
    mode: TlsMode, ca_file: str = "", client: ClientCertificate | None = None
) -> ssl.SSLContext | None:
    """The context towards a resource; None for DISABLE.

    REQUIRE encrypts and verifies nothing. VERIFY_CA checks who issued the certificate, VERIFY_FULL
    also whose it is. Without `ca_file` the system's own list of issuers counts, for
    VERIFY_FULL alone: for VERIFY_CA it would let anyone with any certificate pass.

    Raises:
        BadConfig: a file or a certificate cannot be used.
    """
    if mode is TlsMode.DISABLE:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["postgresql"])
    context.check_hostname = mode is TlsMode.VERIFY_FULL
    if mode is TlsMode.REQUIRE:
        context.verify_mode = ssl.CERT_NONE
    elif ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise BadConfig(
                f"cannot use {ca_file} as the resource's issuer: {error}",
                hint="ca_file must be a PEM file that the gateway's user can read",
            ) from None
    elif mode is TlsMode.VERIFY_CA:
        raise BadConfig(
            "tls: verify-ca needs ca_file; any public issuer would do otherwise",
            hint="Name the resource's own issuer in ca_file, or use tls: verify-full.",
        )
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if client is not None:
        _load_client(context, client)
    return context


def _load_client(context: ssl.SSLContext, client: ClientCertificate) -> None:
    """`ssl` reads certificates from files alone; an anonymous one in memory keeps the key off the
    disk."""
    descriptor = os.memfd_create("taskgate-client-certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(f"{client.certificate}\n{client.private_key}\n".encode())
        # An encrypted key would make OpenSSL ask for its password on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=b"")
    except (OSError, ssl.SSLError, ValueError):
        # The reason is left out: it could quote what was read.
        raise BadConfig(
            "the resource's client certificate cannot be used",
            hint="It needs a PEM certificate and its unencrypted PEM key.",
        ) from None
    finally:
        os.close(descriptor)


class UpstreamContexts:
    """Contexts towards resources, kept for their next connection: making one costs milliseconds.

    A changed issuer file or certificate gives a new one.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], ssl.SSLContext | None] = OrderedDict()

    def get(
        self, mode: TlsMode, ca_file: str = "", client: ClientCertificate | None = None
    ) -> ssl.SSLContext | None:
        """As `upstream_context`."""
        key = (mode.value, ca_file, _file_stamp(ca_file), _digest(client))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        context = upstream_context(mode, ca_file, client)
        self._kept[key] = context
        if len(self._kept) > limits.MAX_CACHED_TLS_CONTEXTS:
            self._kept.popitem(last=False)
        return context


def _file_stamp(path: str) -> str:
    if not path:
        return ""
    try:
        stat = Path(path).stat()
    except OSError:
        return "missing"
    return f"{stat.st_mtime_ns}:{stat.st_ino}:{stat.st_size}"


def _digest(client: ClientCertificate | None) -> str:
    if client is None:
        return ""
    # Text that is not UTF-8 is refused when it is loaded; here it must not end up in an error.
    whole = f"{client.certificate}\0{client.private_key}".encode("utf-8", "backslashreplace")
    return hashlib.sha256(whole).hexdigest()
