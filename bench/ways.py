"""The ways from a client to the database that are measured, and the processes behind them."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bench.pgbench import Target
from bench.process import Watched
from bench.sign_in import sign_in
from taskgate.demo.cluster import (
    Cluster,
    embedded_installation,
    free_port,
    installation_at,
    runnable_by,
    server_account,
)
from taskgate.demo.gate import OwnGate, Person, Ports

ROOT = Path(__file__).resolve().parent.parent
DATABASE = "bench"
ROLE = "bench"
PASSWORD = "bench-password"
CLIENT = Person("bench", "runs the benchmark", ("benchers",))
_DEBIAN_BIN = Path("/usr/lib/postgresql/15/bin")
_SETTINGS = {
    "max_connections": "1200",
    "shared_buffers": "1GB",
    "fsync": "off",
    "synchronous_commit": "off",
    "max_wal_size": "8GB",
    "autovacuum": "off",
    "jit": "off",
    "ssl": "on",
    "max_parallel_workers_per_gather": "0",
}
# `bench` signs in without a password except as the gate does, so that pgbouncer needs none either.
_HBA = ("host all gate_role 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 trust")

# As narrow as real tasks are: patterns, columns, denies, masks that other columns have.
_POLICY = """
kind: Resource
name: bench
protocol: postgres
address: 127.0.0.1:{port}
tls: disable
credential: {{username: gate_role, password: {{env: BENCH_PASSWORD}}}}
database: bench
---
kind: Task
name: plain
resource: bench
for: {{groups: [benchers]}}
lasts: {{default: 4h, at_most: 4h}}
permit:
  - select:
      - "public.pgbench_accounts(aid, bid, abalance)"
      - public.pgbench_branches
      - public.bulk
      - "@catalog"
deny:
  - {{write: ["*"], define: ["*"], reason: a benchmark reads}}
mask:
  - {{columns: [public.pgbench_tellers.filler, public.people.email], as: partial}}
---
kind: Resource
name: encrypted
protocol: postgres
address: localhost:{port}
tls: verify-full
ca_file: {certificate}
credential: {{username: gate_role, password: {{env: BENCH_PASSWORD}}}}
database: bench
---
kind: Task
name: both-encrypted
resource: encrypted
for: {{groups: [benchers]}}
lasts: {{default: 4h, at_most: 4h}}
permit:
  - select: [public.bulk, "@catalog"]
---
kind: Task
name: masked
resource: bench
for: {{groups: [benchers]}}
lasts: {{default: 4h, at_most: 4h}}
permit:
  - select: [public.bulk, "@catalog"]
mask:
  - {{columns: [public.bulk.email], as: partial}}
---
kind: Task
name: detected
resource: bench
for: {{groups: [benchers]}}
lasts: {{default: 4h, at_most: 4h}}
permit:
  - select: [public.bulk, "@catalog"]
mask:
  - {{kinds: [credit_card, us_ssn], as: redact}}
"""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the database. `middle` is the process in between, None for none."""

    name: str
    target: Target
    middle: Watched | None
    prepared: bool = True
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that is up. `masked`, `detected` and `encrypted` (TLS on both sides) are the gate
    under other tasks."""

    database: Cluster
    ways: tuple[Way, ...]
    masked: Way
    detected: Way
    encrypted: Way

    @property
    def pgbench(self) -> Path:
        return self.database.installation.bin / "pgbench"

    def version(self) -> str:
        """The server's, such as 15.20."""
        asked = self.database.psql("SHOW server_version", database=DATABASE, superuser="postgres")
        return asked.split()[0]

    def way(self, name: str) -> Way:
        return next(way for way in self.ways if way.name == name)


@contextmanager
def everything(scale: int, bulk_rows: int, compiled: Path | None = None) -> Iterator[Bench]:
    """Starts the database, fills it, and starts everything that stands before it; a second gate
    with the modules that are `compiled` there."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tg-bench-")))
        directory.chmod(0o755)
        database = stack.enter_context(_database(directory, scale, bulk_rows))
        direct = Target(database.port, ROLE, DATABASE)
        relay_port = free_port()
        relay = stack.enter_context(
            _process([sys.executable, "-m", "bench.relay", str(relay_port), str(database.port)])
        )
        _until_up(Target(relay_port, ROLE, DATABASE))
        ways = [
            Way("direct", direct, None),
            Way("relay", Target(relay_port, ROLE, DATABASE), Watched(relay)),
        ]
        for mode in ("session", "transaction"):
            port = free_port()
            pid = stack.enter_context(_pgbouncer(directory, mode, port, database))
            target = Target(port, ROLE, DATABASE)
            _until_up(target)
            # pgbouncer learnt to follow prepared statements in transaction mode with 1.21.
            ways.append(Way(f"pgbouncer {mode}", target, Watched(pid), mode == "session"))
        gate = stack.enter_context(_gate(directory, database))
        ways.append(_way(gate, "plain"))
        if compiled is not None:
            fast = stack.enter_context(_gate(directory, database, compiled=compiled))
            ways.append(replace(_way(fast, "plain"), name="gate, compiled"))
        yield Bench(
            database, tuple(ways), _way(gate, "masked"), _way(gate, "detected"),
            replace(_way(gate, "both-encrypted"), name="gate, TLS on both sides", encrypted=True),
        )  # fmt: skip


@contextmanager
def profiled(profile: Path) -> Iterator[tuple[Path, Way, OwnGate]]:
    """The gate alone, under `bench.profiled`: pgbench's program, the way, the gate. `profile` is
    written when this ends."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tg-bench-")))
        directory.chmod(0o755)
        database = stack.enter_context(_database(directory, scale=1, bulk_rows=1))
        gate = stack.enter_context(_gate(directory, database, profile))
        yield database.installation.bin / "pgbench", _way(gate, "plain"), gate


def _way(gate: OwnGate, task: str) -> Way:
    token = gate.grant(CLIENT.name, task)
    target = Target(gate.ports.postgres, task, DATABASE, token)
    return Way("gate" if task == "plain" else f"gate, {task}", target, Watched(gate.pid))


@contextmanager
def _database(directory: Path, scale: int, bulk_rows: int) -> Iterator[Cluster]:
    account = server_account()
    found = (
        installation_at(_DEBIAN_BIN)
        if (_DEBIAN_BIN / "postgres").exists()
        else embedded_installation()
    )
    cluster = Cluster(
        runnable_by(account, found, directory), directory / "pg", port=free_port(), account=account
    )
    cluster.create(superuser="postgres", password=PASSWORD, settings=_SETTINGS, hba=_HBA)
    _offer_tls(cluster)
    cluster.start()
    try:
        cluster.psql(
            f"CREATE ROLE {ROLE} LOGIN SUPERUSER; CREATE DATABASE {DATABASE} OWNER {ROLE};"
            f"CREATE ROLE gate_role LOGIN SUPERUSER PASSWORD '{PASSWORD}'",
            database="postgres",
            superuser="postgres",
        )
        subprocess.run(
            [
                str(found.bin / "pgbench"), "-i", "-q", "-s", str(scale), "-h", "127.0.0.1",
                "-p", str(cluster.port), "-U", ROLE, DATABASE,
            ],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        cluster.psql(
            "CREATE TABLE people (id int, email text);"
            "CREATE UNLOGGED TABLE bulk AS SELECT i AS id,"
            " 'person' || i || '@example.com' AS email,"
            " repeat('Order ' || i || ' was packed, weighed and sent in time; ', 22) AS payload"
            f" FROM generate_series(1, {bulk_rows}) AS i;"
            f"ALTER TABLE bulk OWNER TO {ROLE}; VACUUM ANALYZE bulk; CHECKPOINT;",
            database=DATABASE,
            superuser="postgres",
        )
        yield cluster
    finally:
        cluster.stop()


def _offer_tls(cluster: Cluster) -> None:
    """A certificate for the database: where it looks for one without being told."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, raw, plain = Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    for name_, content in (
        ("server.crt", certificate.public_bytes(pem)),
        ("server.key", key.private_bytes(pem, raw, plain)),
    ):
        path = cluster.data / name_
        path.write_bytes(content)
        path.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(path, cluster.account.uid, cluster.account.gid)


@contextmanager
def _process(command: list[str], **more: object) -> Iterator[int]:
    running = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, **more)  # type: ignore[call-overload]
    try:
        yield running.pid
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def _pgbouncer(directory: Path, mode: str, port: int, database: Cluster) -> Iterator[int]:
    account = server_account()
    own = directory / f"pgbouncer-{mode}"
    own.mkdir()
    (own / "users.txt").write_text(f'"{ROLE}" ""\n')
    (own / "pgbouncer.ini").write_text(
        f"[databases]\n{DATABASE} = host=127.0.0.1 port={database.port} dbname={DATABASE}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {own}/users.txt\npool_mode = {mode}\n"
        "max_client_conn = 1200\ndefault_pool_size = 1100\nmax_db_connections = 1100\n"
        f"ignore_startup_parameters = extra_float_digits\nlogfile = {own}/log\n"
        "log_connections = 0\nlog_disconnections = 0\n"
    )
    down = {}
    if os.geteuid() == 0:
        for path in (own, *own.iterdir()):
            os.chown(path, account.uid, account.gid)
        down = {"user": account.uid, "group": account.gid, "extra_groups": []}
    with _process(
        ["/usr/sbin/pgbouncer", "-q", str(own / "pgbouncer.ini")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **down,
    ) as pid:
        yield pid


@contextmanager
def _gate(
    directory: Path, database: Cluster, profile: Path | None = None, compiled: Path | None = None
) -> Iterator[OwnGate]:
    own = directory / ("gate" if compiled is None else "gate-compiled")
    own.mkdir()
    ports, secrets = Ports(free_port(), free_port()), {"BENCH_PASSWORD": PASSWORD}
    if compiled is not None:
        secrets["PYTHONPATH"] = str(compiled)
    if profile is None:
        gate = OwnGate(own, ports, secrets=secrets)
    else:
        launcher = ("-m", "bench.profiled", str(profile))
        gate = OwnGate(own, ports, secrets=secrets, launcher=launcher)
    policy = _POLICY.format(port=database.port, certificate=database.data / "server.crt")
    gate.configure({"bench.yaml": policy})
    gate.add_people((CLIENT,))
    gate.start()
    try:
        gate.sign_in(CLIENT)
        yield gate
    finally:
        gate.stop()


def _until_up(target: Target) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            sign_in(target).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
