"""The listener's TLS: real clients start up through it, and its certificate changes under it."""

import asyncio
import os
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from taskgate.gateway.certificates import ServerCertificate, own_certificate
from taskgate.gateway.tls import (
    ListenerTls,
    UpstreamContexts,
    start_server_tls,
    upstream_context,
)
from taskgate.model import limits
from taskgate.model.errors import BadConfig, TaskgateError
from taskgate.model.resource import TlsMode
from taskgate.protocols.postgres import messages
from taskgate.protocols.postgres.authentication import (
    AUTHENTICATION_OK,
    GSSENC_REQUEST,
    SSL_REQUEST,
    BackendKey,
    CancelRequest,
    encode_backend_key,
    encode_startup,
)
from taskgate.protocols.postgres.errors import Severity, encode_error
from taskgate.protocols.postgres.startup import ALPN, BeginTls, Send, ServerStartup
from taskgate.protocols.postgres.startup_options import StartupRequest
from tests.certificates import Authority
from tests.patience import PATIENCE_S
from tests.servers import installation

NOW = time.time()
DAY_S = 86_400.0


@pytest.fixture
def listener(tmp_path: Path) -> ListenerTls:
    return ListenerTls(lambda now: own_certificate(tmp_path, ["localhost"], now), NOW, [ALPN])


@dataclass
class Seen:
    """What arrived at the listener."""

    requests: list[StartupRequest] = field(default_factory=list)
    cancels: list[CancelRequest] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class Front(asyncio.Protocol):
    """A listener that starts sessions up as the gateway does, and then has nothing to say."""

    def __init__(self, listener: ListenerTls, seen: Seen, *, takes_plaintext: bool) -> None:
        self.listener = listener
        self.seen = seen
        self.startup = ServerStartup(offers_tls=True, takes_plaintext=takes_plaintext)
        self.work: asyncio.Task[None] | None = None
        self.begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self.begun:
            self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.startup.feed(data)
        if self.work is None:
            self.advance()

    def advance(self) -> None:
        try:
            while (step := self.startup.advance()) is not None:
                if isinstance(step, Send):
                    self.transport.write(step.data)
                elif isinstance(step, BeginTls):
                    self.work = asyncio.ensure_future(self.encrypt(step))
                elif isinstance(step, CancelRequest):
                    self.seen.cancels.append(step)
                    self.transport.close()
                else:
                    self.welcome(step)
        except TaskgateError as error:
            self.seen.errors.append(error)
            self.transport.write(encode_error(error, severity=Severity.FATAL))
            self.transport.close()

    async def encrypt(self, step: BeginTls) -> None:
        self.begun = True
        self.transport.pause_reading()
        if step.reply:
            self.transport.write(step.reply)
        try:
            self.transport = await start_server_tls(
                self.transport,
                self,
                self.listener.context,
                received=step.received,
                timeout_s=PATIENCE_S,
            )
            session = self.transport.get_extra_info("ssl_object")
            self.startup.tls_started(session.selected_alpn_protocol())
        except (OSError, TaskgateError) as error:
            self.seen.errors.append(error)
            self.transport.abort()
            return
        self.work = None
        self.advance()

    def welcome(self, request: StartupRequest) -> None:
        self.seen.requests.append(request)
        self.seen.arrived.set()
        key = BackendKey(1, bytes(32) if request.minor == 2 else bytes(4))
        self.transport.write(
            AUTHENTICATION_OK
            + messages.encode_parameter_status("server_version", "15.0")
            + messages.encode_parameter_status("client_encoding", "UTF8")
            + messages.encode_parameter_status("standard_conforming_strings", "on")
            + encode_backend_key(key)
            + messages.encode_ready_for_query("I")
        )


@asynccontextmanager
async def front(
    listener: ListenerTls, *, takes_plaintext: bool = False
) -> AsyncIterator[tuple[int, Seen]]:
    seen = Seen()
    fronts: list[Front] = []

    def accepted() -> Front:
        fronts.append(Front(listener, seen, takes_plaintext=takes_plaintext))
        return fronts[-1]

    server = await asyncio.get_running_loop().create_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()
        # Neither side may be left half closed for whoever comes after this test.
        for one in fronts:
            one.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)


def conninfo(port: int, tmp_path: Path, **more: str | int) -> str:
    return make_conninfo(
        "",
        host="localhost",
        hostaddr="127.0.0.1",
        port=port,
        user="sales-report",
        password="tg_token",
        sslmode="verify-full",
        sslrootcert=str(tmp_path / "tls" / "ca.pem"),
        connect_timeout=60,
        **more,
    )


@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
async def test_libpq_starts_up(listener: ListenerTls, tmp_path: Path, negotiation: str) -> None:
    if psycopg.pq.version() < 170000:
        pytest.skip("this libpq does not know sslnegotiation")
    async with front(listener) as (port, seen):
        info = conninfo(
            port,
            tmp_path,
            sslnegotiation=negotiation,
            options="-c statement_timeout=5s",
            application_name="t",
        )
        connection = await psycopg.AsyncConnection.connect(info)
        assert connection.pgconn.ssl_in_use
        await connection.close()
    assert not seen.errors
    (request,) = seen.requests
    assert request.password == "tg_token"
    assert (request.task, request.resource, request.database) == ("sales-report", "", "")
    assert ("statement_timeout", "5s") in request.settings
    assert request.application_name == "t"


@pytest.mark.parametrize("version", ["3.0", "3.2", "latest"])
async def test_libpq_18_negotiates_its_version(
    listener: ListenerTls, tmp_path: Path, version: str
) -> None:
    if psycopg.pq.version() < 180000:
        pytest.skip("this libpq does not know max_protocol_version")
    async with front(listener) as (port, seen):
        info = conninfo(port, tmp_path, max_protocol_version=version)
        connection = await psycopg.AsyncConnection.connect(info)
        await connection.close()
    assert [request.minor for request in seen.requests] == [0 if version == "3.0" else 2]


@pytest.mark.parametrize(("major", "sslmode"), [(15, "verify-full"), (18, "disable")])
async def test_psql_starts_up(
    listener: ListenerTls, tmp_path: Path, major: int, sslmode: str
) -> None:
    """The wheel's psql 18 is built without TLS."""
    found = installation(major)
    if found is None:
        pytest.skip(f"PostgreSQL {major} is not installed")
    async with front(listener, takes_plaintext=sslmode == "disable") as (port, seen):
        process = await asyncio.create_subprocess_exec(
            str(found.bin / "psql"),
            "-X",
            "-c",
            "",
            make_conninfo(conninfo(port, tmp_path), sslmode=sslmode),
            env={**os.environ, "LD_LIBRARY_PATH": str(found.bin.parent / "lib")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                await _answer_until(seen, process)
        finally:
            if process.returncode is None:
                process.kill()
            _, said = await process.communicate()
    assert [request.task for request in seen.requests] == ["sales-report"], said.decode()


async def _answer_until(seen: Seen, process: asyncio.subprocess.Process) -> None:
    ended = asyncio.ensure_future(process.wait())
    arrived = asyncio.ensure_future(seen.arrived.wait())
    await asyncio.wait((ended, arrived), return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    arrived.cancel()


async def test_without_tls_a_client_is_told(listener: ListenerTls, tmp_path: Path) -> None:
    async with front(listener) as (port, seen):
        info = make_conninfo(conninfo(port, tmp_path), sslmode="disable")
        with pytest.raises(psycopg.OperationalError, match="over TLS only"):
            await psycopg.AsyncConnection.connect(info)
    assert not seen.requests


async def test_plaintext_behind_the_request_is_refused(listener: ListenerTls) -> None:
    async with front(listener) as (port, seen):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(SSL_REQUEST + encode_startup(0, [("user", "evil")]))
        said = await reader.read()
        writer.close()
    assert not said.startswith(b"S")
    assert b"unencrypted data" in said
    assert not seen.requests


async def test_plaintext_after_the_answer_is_no_handshake(listener: ListenerTls) -> None:
    async with front(listener) as (port, seen):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GSSENC_REQUEST)
        assert await reader.readexactly(1) == b"N"
        writer.write(SSL_REQUEST)
        assert await reader.readexactly(1) == b"S"
        writer.write(encode_startup(0, [("user", "evil")]))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(10_000)
        writer.close()
    assert not seen.requests


async def test_direct_tls_for_another_protocol_is_refused(
    listener: ListenerTls, tmp_path: Path
) -> None:
    context = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.pem"))
    for alpn in (None, ["http/1.1"]):
        if alpn:
            context.set_alpn_protocols(alpn)
        async with front(listener) as (port, seen):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await _speak_http(port, context)
            assert not seen.requests
            async with asyncio.timeout(PATIENCE_S):
                while not seen.errors:  # noqa: ASYNC110 - there is no event to wait for
                    await asyncio.sleep(0.01)


async def _speak_http(port: int, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    try:
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.readexactly(1)
    finally:
        writer.transport.abort()


async def test_old_tls_is_refused(listener: ListenerTls, tmp_path: Path) -> None:
    async with front(listener) as (port, _):
        info = conninfo(port, tmp_path, ssl_max_protocol_version="TLSv1.1")
        info = make_conninfo(info, ssl_min_protocol_version="TLSv1")
        with pytest.raises(psycopg.OperationalError):
            await psycopg.AsyncConnection.connect(info)


async def test_cancel_requests_arrive_through_tls(listener: ListenerTls, tmp_path: Path) -> None:
    async with front(listener) as (port, seen):
        connection = await psycopg.AsyncConnection.connect(conninfo(port, tmp_path))
        await connection.cancel_safe()
        await connection.close()
    assert [request.process_id for request in seen.cancels] == [1]


class TestListenerTls:
    def test_the_key_is_private(self, listener: ListenerTls, tmp_path: Path) -> None:
        assert listener.ca_pem.startswith("-----BEGIN CERTIFICATE-----")
        for name in ("ca.key", "gateway.key"):
            assert (tmp_path / "tls" / name).stat().st_mode & 0o777 == 0o600

    def test_nothing_new(self, listener: ListenerTls) -> None:
        context = listener.context
        assert not listener.refresh(NOW + DAY_S)
        assert listener.context is context

    def test_renewed_before_its_end_by_the_same_authority(self, listener: ListenerTls) -> None:
        before, trust = listener.context, listener.ca_pem
        assert listener.refresh(NOW + 340 * DAY_S)
        assert listener.context is not before
        assert listener.ca_pem == trust

    def test_replaced_files_are_taken_up_and_wrong_ones_are_not(self, tmp_path: Path) -> None:
        first = Authority(tmp_path / "one").issue("a", hosts=("localhost",))
        second = Authority(tmp_path / "two").issue("b", hosts=("localhost",))
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        shutil.copy(first.certificate, cert)
        shutil.copy(first.key, key)
        trust = ["the first"]
        listener = ListenerTls(lambda _: ServerCertificate(cert, key, trust[0]), NOW)
        served = listener.context
        _replace(cert, second.certificate)
        trust[0] = "the second"
        with pytest.raises(BadConfig):
            listener.refresh(NOW)
        assert listener.context is served, "half replaced, so the old one stays"
        assert listener.ca_pem == "the first"
        _replace(key, second.key)
        assert listener.refresh(NOW)
        assert listener.context is not served
        assert listener.ca_pem == "the second"
        assert not listener.refresh(NOW)
        cert.unlink()
        with pytest.raises(BadConfig):
            listener.refresh(NOW)

    async def test_new_connections_get_the_new_one(self, tmp_path: Path) -> None:
        first = Authority(tmp_path / "one").issue("a", hosts=("localhost",))
        second = Authority(tmp_path / "two").issue("b", hosts=("localhost",))
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        shutil.copy(first.certificate, cert)
        shutil.copy(first.key, key)
        listener = ListenerTls(lambda _: ServerCertificate(cert, key, ""), NOW, [ALPN])
        async with front(listener) as (port, _):
            assert await _served(port) == _der(first.certificate)
            _replace(cert, second.certificate)
            _replace(key, second.key)
            listener.refresh(NOW)
            assert await _served(port) == _der(second.certificate)


def _replace(target: Path, source: Path) -> None:
    fresh = target.with_suffix(".new")
    shutil.copy(source, fresh)
    fresh.replace(target)


def _der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


async def _served(port: int) -> bytes:
    context = upstream_context(TlsMode.REQUIRE)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return der


@pytest.mark.cap("MAX_CACHED_TLS_CONTEXTS")
def test_so_many_contexts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CACHED_TLS_CONTEXTS", 2)
    files = [Authority(tmp_path / name).certificate for name in ("one", "other")]
    contexts = UpstreamContexts()
    first = contexts.get(TlsMode.VERIFY_FULL, str(files[0]))
    assert contexts.get(TlsMode.REQUIRE) is contexts.get(TlsMode.REQUIRE)
    assert contexts.get(TlsMode.VERIFY_FULL, str(files[0])) is first
    kept = contexts.get(TlsMode.REQUIRE)
    contexts.get(TlsMode.VERIFY_FULL, str(files[1]))
    assert contexts.get(TlsMode.REQUIRE) is kept
    assert contexts.get(TlsMode.VERIFY_FULL, str(files[0])) is not first
