"""Signing in to real servers, and to some that only pretend to be one."""

import asyncio
import datetime
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from taskgate.demo.cluster import free_port
from taskgate.gateway.tls import UpstreamContexts
from taskgate.gateway.upstream import Upstream, UpstreamSecrets, cancel, connect
from taskgate.model.errors import BadConfig, UpstreamFault
from taskgate.model.resource import Credential, Resource, TlsMode
from taskgate.protocols.postgres import messages
from taskgate.protocols.postgres.authentication import SSL_REQUEST
from taskgate.protocols.postgres.frames import BackendFramer
from taskgate.protocols.postgres.login import LoginRefused
from tests import certificates
from tests.certificates import Authority
from tests.patience import PATIENCE_S, eventually
from tests.servers import PASSWORD, Server


def resource_of(
    server: Server, user: str, tls: TlsMode | None = None, ca_file: str | None = None
) -> Resource:
    if tls is None:
        tls = TlsMode.VERIFY_FULL if server.tls else TlsMode.DISABLE
    return Resource(
        name="warehouse",
        protocol="postgres",
        host=server.host,
        port=server.port,
        tls=tls,
        credential=Credential(user),
        ca_file=str(server.ca_file) if ca_file is None else ca_file,
    )


def secrets_of(server: Server, user: str) -> UpstreamSecrets:
    if user == "tg_cert":
        pair = server.client_certificate
        return UpstreamSecrets(None, pair.certificate.read_text(), pair.key.read_text())
    return UpstreamSecrets(PASSWORD)


def needs_tls(server: Server) -> None:
    if not server.tls:
        pytest.skip(f"this PostgreSQL {server.major} was built without TLS")


class Answer(asyncio.Protocol):
    """The first column of the first row of each query, in order."""

    def __init__(self, upstream: Upstream) -> None:
        self.transport = upstream.transport
        self.framer = BackendFramer()
        self.values: list[str] = []
        self.error: messages.ServerReport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport.set_protocol(self)
        if upstream.login.leftover:
            self.data_received(upstream.login.leftover)
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.framer.feed(data)
        while (frame := self.framer.take()) is not None:
            if frame[:1] == b"D":
                self.values.append((messages.parse_data_row(frame)[0] or b"").decode())
            elif frame[:1] == b"E":
                self.error = messages.parse_report(frame)
            elif frame[:1] == b"Z":
                self.ready.set_result(None)

    async def ask(self, text: str) -> str:
        self.send(text)
        await self.ready
        return self.values[-1] if self.values else ""

    def send(self, text: str) -> None:
        self.ready = asyncio.get_running_loop().create_future()
        self.transport.write(messages.encode_query(text))


@asynccontextmanager
async def signed_in(
    resource: Resource, secrets: UpstreamSecrets, settings: tuple[tuple[str, str], ...] = ()
) -> AsyncIterator[tuple[Upstream, Answer]]:
    upstream = await connect(
        resource, secrets, UpstreamContexts(), database="postgres", settings=settings,
        timeout_s=PATIENCE_S,
    )  # fmt: skip
    try:
        yield upstream, Answer(upstream)
    finally:
        upstream.transport.abort()


ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.mark.parametrize("user", ["tg_super", "tg_scram", "tg_md5"])
async def test_by_password_without_tls(pg: Server, user: str) -> None:
    resource = resource_of(pg, user, TlsMode.DISABLE)
    async with signed_in(resource, secrets_of(pg, user)) as (upstream, answer):
        assert await answer.ask("SELECT current_user") == user
        assert await answer.ask(ENCRYPTED) == "f"
        assert dict(upstream.login.parameters)["server_version"].startswith(str(pg.major))
        assert upstream.login.status == "I"
        assert upstream.login.key is not None


@pytest.mark.parametrize("user", ["tg_scram", "tg_md5", "tg_clear", "tg_cert", "tg_tls_only"])
@pytest.mark.parametrize("tls", [TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
async def test_every_method_over_verified_tls(pg: Server, user: str, tls: TlsMode) -> None:
    needs_tls(pg)
    mark = pg.log_size()
    async with signed_in(resource_of(pg, user, tls), secrets_of(pg, user)) as (upstream, answer):
        assert await answer.ask("SELECT current_user") == user
        assert await answer.ask(ENCRYPTED) == "t"
        assert upstream.channel.verified
    if user == "tg_scram":
        assert "SSL enabled" in pg.log_since(mark)


async def test_scram_is_bound_to_the_channel(pg: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A binding to another certificate is refused by the server: so the right one was bound."""
    needs_tls(pg)
    resource = resource_of(pg, "tg_scram")
    with monkeypatch.context() as patched:
        patched.setattr(
            "taskgate.protocols.postgres.login.tls_server_end_point", lambda _: bytes(32)
        )
        with pytest.raises(UpstreamFault):
            await attempt(resource, UpstreamSecrets(PASSWORD))
    async with signed_in(resource, UpstreamSecrets(PASSWORD)) as (_, answer):
        assert await answer.ask("SELECT 1") == "1"


async def test_require_encrypts_without_verifying(pg: Server, tmp_path: Path) -> None:
    needs_tls(pg)
    stranger = Authority(tmp_path / "other")
    resource = resource_of(pg, "tg_tls_only", TlsMode.REQUIRE, str(stranger.certificate))
    async with signed_in(resource, UpstreamSecrets(PASSWORD)) as (upstream, answer):
        assert await answer.ask(ENCRYPTED) == "t"
        assert upstream.channel.tls
        assert not upstream.channel.verified


async def attempt(
    resource: Resource,
    secrets: UpstreamSecrets,
    *,
    database: str = "postgres",
    settings: tuple[tuple[str, str], ...] = (),
    timeout_s: float = PATIENCE_S,
) -> None:
    """Connects, and leaves nothing open where that succeeds."""
    upstream = await connect(
        resource,
        secrets,
        UpstreamContexts(),
        database=database,
        settings=settings,
        timeout_s=timeout_s,
    )
    upstream.transport.abort()


async def refused(resource: Resource, secrets: UpstreamSecrets | None = None) -> UpstreamFault:
    with pytest.raises(UpstreamFault) as caught:
        await attempt(resource, secrets or UpstreamSecrets(PASSWORD))
    for text in (str(caught.value), caught.value.message, caught.value.hint):
        assert PASSWORD not in text
    assert caught.value.message.startswith(f"resource warehouse at {resource.host}:{resource.port}")
    return caught.value


async def test_cleartext_is_not_given_to_who_was_not_verified(pg: Server) -> None:
    error = await refused(resource_of(pg, "tg_clear", TlsMode.DISABLE))
    assert "in clear" in error.message
    if pg.tls:
        error = await refused(resource_of(pg, "tg_clear", TlsMode.REQUIRE))
        assert "verify-full" in error.hint


@pytest.mark.parametrize("user", ["tg_scram", "tg_md5"])
async def test_a_wrong_password(pg: Server, user: str) -> None:
    error = await refused(resource_of(pg, user), UpstreamSecrets("wrong"))
    assert isinstance(error, LoginRefused)
    assert "refuses the gateway's own sign-in" in error.message
    assert error.server_sqlstate == "28P01"
    assert user not in error.message


async def test_a_role_that_may_not_sign_in_so(pg: Server) -> None:
    needs_tls(pg)
    error = await refused(resource_of(pg, "tg_tls_only", TlsMode.DISABLE))
    assert isinstance(error, LoginRefused)
    assert error.server_sqlstate == "28000"


async def test_no_such_database(pg: Server) -> None:
    with pytest.raises(LoginRefused, match='database "nowhere" does not exist') as caught:
        await attempt(
            resource_of(pg, "tg_scram"),
            UpstreamSecrets(PASSWORD),
            database="nowhere",
        )
    assert caught.value.sqlstate == "3D000"


async def test_another_name_than_the_certificates(pg: Server) -> None:
    needs_tls(pg)
    # 127.1 is another way to write the server's address, and is not in its certificate.
    resource = replace(resource_of(pg, "tg_scram"), host="127.1")
    error = await refused(resource)
    assert "could not be verified: Hostname mismatch" in error.message
    async with signed_in(replace(resource, tls=TlsMode.VERIFY_CA), UpstreamSecrets(PASSWORD)) as (
        _,
        answer,
    ):
        assert await answer.ask("SELECT 1") == "1"


async def test_verify_full_with_a_wrong_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("other", hosts=("db.example.com",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    async with pretender(reply=b"S", context=context) as port:
        resource = pretended(port, TlsMode.VERIFY_FULL, str(authority.certificate))
        error = await refused(resource)
        assert "could not be verified" in error.message
        assert "issuer" in error.hint
        # The same one is good enough where only its issuer counts: it gets as far as signing in.
        error = await refused(replace(resource, tls=TlsMode.VERIFY_CA))
        assert "closed the connection" in error.message


@pytest.mark.parametrize("tls", [TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
async def test_another_issuer(pg: Server, tls: TlsMode, tmp_path: Path) -> None:
    needs_tls(pg)
    stranger = Authority(tmp_path / "other")
    error = await refused(resource_of(pg, "tg_scram", tls, str(stranger.certificate)))
    assert "could not be verified" in error.message


@pytest.mark.parametrize("tls", [TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
async def test_an_expired_issuer(
    tls: TlsMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "_FROM", past)
        patched.setattr(certificates, "_UNTIL", past + datetime.timedelta(days=1))
        authority = Authority(tmp_path)
    pair = authority.issue("server", hosts=("127.0.0.1",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    async with pretender(reply=b"S", context=context) as port:
        error = await refused(pretended(port, tls, str(authority.certificate)))
    assert "expired" in error.message


async def test_verify_ca_without_an_issuer_is_a_mistake(pg: Server) -> None:
    for ca_file in ("", "/nowhere/ca.pem"):
        with pytest.raises(BadConfig):
            await attempt(
                resource_of(pg, "tg_scram", TlsMode.VERIFY_CA, ca_file),
                UpstreamSecrets(PASSWORD),
            )


async def test_a_client_certificate_that_cannot_be_used(pg: Server) -> None:
    pair = pg.client_certificate
    certificate, key = pair.certificate.read_text(), pair.key.read_text()
    for secrets in (
        UpstreamSecrets(None, certificate, None),
        UpstreamSecrets(None, None, key),
        UpstreamSecrets(None, certificate, "junk"),
        UpstreamSecrets(None, "junk", key),
        UpstreamSecrets(None, certificate, key + "\udcff"),
        UpstreamSecrets(None, certificate, _encrypted(key)),
    ):
        with pytest.raises(BadConfig) as caught:
            await attempt(
                resource_of(pg, "tg_cert", TlsMode.VERIFY_FULL),
                secrets,
            )
        assert "PRIVATE KEY" not in str(caught.value)


def _encrypted(pem: str) -> str:
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(pem.encode(), None)
    return key.private_bytes(
        s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"pw")
    ).decode()


async def test_settings_and_name_arrive(pg: Server) -> None:
    settings = (("application_name", "tg:ann/sales"), ("statement_timeout", "7s"))
    resource = resource_of(pg, "tg_scram")
    async with signed_in(resource, UpstreamSecrets(PASSWORD), settings=settings) as (_, answer):
        assert await answer.ask("SHOW application_name") == "tg:ann/sales"
        assert await answer.ask("SHOW statement_timeout") == "7s"


async def test_a_setting_that_the_server_refuses(pg: Server) -> None:
    with pytest.raises(LoginRefused) as caught:
        await attempt(
            resource_of(pg, "tg_scram"),
            UpstreamSecrets(PASSWORD),
            settings=(("timezone", "Nowhere/Land"),),
        )
    assert caught.value.sqlstate == "22023"
    assert "Nowhere/Land" in caught.value.message


async def test_cancel_reaches_its_session(pg: Server) -> None:
    resource, secrets = resource_of(pg, "tg_scram"), UpstreamSecrets(PASSWORD)
    contexts = UpstreamContexts()
    async with signed_in(resource, secrets) as (upstream, answer):
        key = upstream.login.key
        assert key is not None
        answer.send("SELECT pg_sleep(100), 'to be cancelled'")
        await asyncio.to_thread(eventually, lambda: _runs(pg, "to be cancelled"))
        await cancel(resource, secrets, contexts, key, upstream.peer, timeout_s=PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):
            await answer.ready
        assert answer.error is not None
        assert answer.error.get("C") == "57014"


def _runs(pg: Server, text: str) -> bool:
    found = pg.run(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
        f" AND query LIKE '%{text}%' AND pid <> pg_backend_pid()"
    )
    return found.strip() != "0"


# Servers that only pretend.


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[int]:
    """Serves each connection so; at the end none is left for whoever comes after this test."""
    under_way: set[asyncio.Task[None]] = set()

    async def noted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        under_way.add(task)
        await serve(reader, writer)

    server = await asyncio.start_server(noted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)


@asynccontextmanager
async def pretender(
    reply: bytes, context: ssl.SSLContext | None = None, *, hang: bool = False
) -> AsyncIterator[int]:
    """Answers the first packet with `reply`, and then starts TLS, hangs or closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(len(SSL_REQUEST))
            writer.write(reply)
            await writer.drain()
            if context is not None:
                await writer.start_tls(context)
            if hang:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with served(serve) as port:
        yield port


def pretended(port: int, tls: TlsMode, ca_file: str = "") -> Resource:
    return Resource("warehouse", "postgres", "127.0.0.1", port, tls, Credential("x"), ca_file)


async def test_nobody_listens() -> None:
    error = await refused(pretended(free_port(), TlsMode.DISABLE))
    assert "refuses connections" in error.message
    assert error.sqlstate == "08006"


async def test_no_such_host() -> None:
    for host in ("no-such-host.invalid", "a..b", "x" * 70 + ".invalid"):
        resource = replace(pretended(5432, TlsMode.DISABLE), host=host)
        assert "cannot be found" in (await refused(resource)).message


async def test_a_server_without_tls(pg: Server) -> None:
    async with pretender(reply=b"N") as port:
        error = await refused(pretended(port, TlsMode.REQUIRE))
    assert "does not speak TLS" in error.message
    if not pg.tls:
        error = await refused(resource_of(pg, "tg_scram", TlsMode.REQUIRE))
        assert "does not speak TLS" in error.message


@pytest.mark.parametrize(
    "reply",
    [b"S\x00", b"SR\0\0\0\x08\0\0\0\0", b"E\0\0\0\x05\0", b"X", b"G", b"R\0\0\0\x08\0\0\0\0"],
)
async def test_an_answer_to_ssl_that_is_none(reply: bytes) -> None:
    """Bytes in clear behind the S would be taken for the server's own."""
    async with pretender(reply=reply) as port:
        error = await refused(pretended(port, TlsMode.REQUIRE))
    assert "answer to a TLS request" in error.message


async def test_a_handshake_that_is_none() -> None:
    async with pretender(reply=b"S") as port:
        error = await refused(pretended(port, TlsMode.REQUIRE))
    assert "closed the connection" in error.message or "TLS" in error.message


@pytest.mark.parametrize("tls", [TlsMode.DISABLE, TlsMode.REQUIRE])
async def test_a_server_that_never_answers(tls: TlsMode) -> None:
    async with pretender(reply=b"", hang=True) as port:
        with pytest.raises(UpstreamFault, match=r"did not answer within 0\.3 s"):
            await attempt(
                pretended(port, tls),
                UpstreamSecrets(PASSWORD),
                database="",
                timeout_s=0.3,
            )


async def test_a_server_that_never_stops_talking() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"R\0\0\0\x08\0\0\0\0")
            while True:
                writer.write(messages.encode_parameter_status("a", "x" * 60_000))
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async with served(serve) as port:
        error = await refused(pretended(port, TlsMode.DISABLE))
        assert "too much" in error.message


async def test_contexts_are_kept_and_follow_their_files(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    shutil.copy(Authority(tmp_path / "one").certificate, ca_file)
    contexts = UpstreamContexts()
    first = contexts.get(TlsMode.VERIFY_FULL, str(ca_file))
    assert contexts.get(TlsMode.VERIFY_FULL, str(ca_file)) is first
    assert contexts.get(TlsMode.REQUIRE) is not first
    assert contexts.get(TlsMode.DISABLE) is None
    ca_file.unlink()
    shutil.copy(Authority(tmp_path / "two", "another").certificate, ca_file)
    assert contexts.get(TlsMode.VERIFY_FULL, str(ca_file)) is not first
