"""The demo whole: the shop's database and web host, the gateway before them, and the people, under
one folder."""

import hashlib
import json
import os
import secrets
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path

from taskgate.demo import seed
from taskgate.demo.cluster import (
    Account,
    Cluster,
    ClusterFault,
    embedded_installation,
    free_port,
    reachable_by,
    runnable_by,
    server_account,
    server_of,
)
from taskgate.demo.gate import OwnGate, Ports
from taskgate.demo.host import Host, HostKeys, new_key, public_key
from taskgate.demo.people import PEOPLE

DATABASE = "shop"
GATE_ROLE = "shop_gate"
OPENSSH = ("ssh", "scp", "sftp")
_SUPERUSER = "postgres"
_SETTINGS = {
    "timezone": "UTC",
    "max_connections": "100",
    "log_line_prefix": "%m [%p] %u@%d/%a ",
    # Rows of a demo may be lost with the machine's power; its start should be quick.
    "synchronous_commit": "off",
}
_HBA = ("host all all 127.0.0.1/32 scram-sha-256",)
# What the gate's own role may do at most; tasks narrow it.
_ROLE_SQL = """
CREATE ROLE {role} LOGIN PASSWORD '{password}';
ALTER DATABASE {database} OWNER TO {role};
GRANT CREATE, USAGE ON SCHEMA shop TO {role};
GRANT ALL ON ALL TABLES IN SCHEMA shop TO {role};
GRANT ALL ON ALL SEQUENCES IN SCHEMA shop TO {role};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA shop TO {role};
"""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a demo keeps between two runs. `database_at` is the folder of the PostgreSQL server,
    beside which the web host's lies; `web_key` is the private key that lets the gate in there."""

    postgres_port: int
    gate_port: int
    api_port: int
    ssh_port: int
    web_port: int
    page_port: int
    database_at: str
    role_password: str = field(repr=False)
    web_host_key: str = field(repr=False)
    web_key: str = field(repr=False)


class Shop:
    """The demo under `directory`; everything of it is made at the first `start`."""

    def __init__(self, directory: Path, *, own_ports: bool = False) -> None:
        self.directory = directory.resolve()
        self._own_ports = own_ports
        self._settled = self._settle()
        self.cluster = Cluster(
            runnable_by(self._account(), embedded_installation(), self._database_at()),
            self._database_at(),
            port=self._settled.postgres_port,
            account=self._account(),
        )
        self.host = Host(
            self._database_at().with_name("host"),
            port=self._settled.web_port,
            page_port=self._settled.page_port,
            account=self._account(),
            keys=HostKeys(self._settled.web_host_key, self._settled.web_key),
        )
        self.gate = OwnGate(
            self.directory,
            Ports(self._settled.gate_port, self._settled.api_port, self._settled.ssh_port),
            secrets={
                "DEMO_SHOP_PASSWORD": self._settled.role_password,
                "DEMO_WEB_KEY": self._settled.web_key,
            },
        )

    def start(self) -> None:
        """Starts the database, the host and the gateway, and signs everybody in.

        Raises:
            ClusterFault, HostFault, GateFault.
        """
        fresh = not self.cluster.exists
        if fresh:
            self.cluster.create(
                superuser=_SUPERUSER,
                password=secrets.token_urlsafe(24),
                settings=_SETTINGS,
                hba=_HBA,
            )
        self.cluster.start()
        if not self._seeded():
            self._seed()
        self.host.start()
        self.gate.configure(self._policy())
        self.gate.add_people(PEOPLE)
        self.gate.start()
        self.gate.sign_in(*PEOPLE)
        self._write_surroundings()

    def stop(self) -> None:
        self.gate.stop()
        self.host.stop()
        self.cluster.stop()

    def look(self, sql: str) -> str:
        """Asks the database behind the gate's back, as its superuser."""
        return self.cluster.psql(sql, database=DATABASE, superuser=_SUPERUSER)

    @property
    def programs(self) -> Path:
        """The folder that the demo's own psql and ssh are in, if it needs them."""
        return self.directory / "bin"

    @property
    def borrows_ssh(self) -> bool:
        """Whether OpenSSH's client is not there, so that the demo's own stands in for it."""
        return any(shutil.which(name) is None for name in OPENSSH)

    def _seeded(self) -> bool:
        return (self.cluster.directory / "seeded").exists()

    def _seed(self) -> None:
        ask = self.cluster.psql
        ask(f"DROP DATABASE IF EXISTS {DATABASE}", database="postgres", superuser=_SUPERUSER)
        ask(f"DROP ROLE IF EXISTS {GATE_ROLE}", database="postgres", superuser=_SUPERUSER)
        ask(f"CREATE DATABASE {DATABASE}", database="postgres", superuser=_SUPERUSER)
        self.look(seed.shop_sql())
        self.look(
            _ROLE_SQL.format(
                role=GATE_ROLE, password=self._settled.role_password, database=DATABASE
            )
        )
        self.look("VACUUM ANALYZE")
        (self.cluster.directory / "seeded").touch()

    def _settle(self) -> Settled:
        self.directory.mkdir(parents=True, exist_ok=True)
        kept = self.directory / "demo.json"
        before = json.loads(kept.read_text()) if kept.exists() else {}
        found = Settled(
            postgres_port=self._port(before.get("postgres_port", 15432)),
            gate_port=self._port(before.get("gate_port", 6432)),
            api_port=self._port(before.get("api_port", 8443)),
            ssh_port=self._port(before.get("ssh_port", 2222)),
            web_port=self._port(before.get("web_port", 12222)),
            page_port=self._port(before.get("page_port", 18000)),
            database_at=before.get("database_at") or str(self._place_for_database()),
            role_password=before.get("role_password") or secrets.token_urlsafe(24),
            web_host_key=before.get("web_host_key") or new_key(),
            web_key=before.get("web_key") or new_key(),
        )
        kept.unlink(missing_ok=True)
        with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(found), file, indent=1)
        return found

    def _policy(self) -> dict[str, str]:
        kept = self._settled
        return policy_files(
            kept.postgres_port, kept.web_port, kept.page_port, public_key(kept.web_host_key)
        )

    def _port(self, wanted: int) -> int:
        if self._own_ports:
            return free_port()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                return free_port()
        return wanted

    def _account(self) -> Account:
        return server_account()

    def _database_at(self) -> Path:
        return Path(self._settled.database_at)

    def _place_for_database(self) -> Path:
        """Beside the rest, or under /var/tmp where the server's account cannot get here (a
        checkout in root's home)."""
        if reachable_by(self.directory, self._account()):
            return self.directory / "database"
        mark = hashlib.sha256(str(self.directory).encode()).hexdigest()[:12]
        place = Path("/var/tmp") / f"taskgate-demo-{mark}"  # noqa: S108 - checked below
        place.mkdir(mode=0o755, exist_ok=True)
        about = place.lstat()
        # Anyone may make a folder of that name first; theirs is not used.
        if place.is_symlink() or about.st_uid != os.geteuid():
            raise PermissionError(f"{place} belongs to somebody else")
        return place / "database"

    def _write_surroundings(self) -> None:
        self.programs.mkdir(exist_ok=True)
        psql = self.programs / "psql"
        psql.unlink(missing_ok=True)
        if shutil.which("psql") is None:
            # The wheel's psql is built without TLS; the demo's gate takes it on loopback.
            psql.write_text(
                "#!/bin/sh\nunset PGSSLROOTCERT\nexport PGSSLMODE=disable\n"
                f'exec {self.cluster.installation.bin / "psql"} "$@"\n'
            )
            psql.chmod(0o755)
        for name in OPENSSH:
            program = self.programs / name
            program.unlink(missing_ok=True)
            if self.borrows_ssh:
                program.write_text(
                    f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -m taskgate.demo.ssh_client"
                    f' {name} "$@"\n'
                )
                program.chmod(0o755)
        (self.directory / "env").write_text(
            f'export PATH="{self.programs}:{Path(sys.executable).parent}:$PATH"\n'
            f'export TASKGATE_CONFIG_DIR="{self.gate.profiles}"\n'
        )


def remove(directory: Path) -> None:
    """Removes a stopped demo's state, wherever it lies.

    Raises:
        ClusterFault: it is still running.
    """
    kept = directory / "demo.json"
    if kept.exists():
        database = Path(json.loads(kept.read_text())["database_at"])
        if server_of(database / "data") is not None:
            raise ClusterFault("the demo is running; stop it first (Ctrl-C where it runs)")
        shutil.rmtree(database, ignore_errors=True)
        # The host lies beside it: in `directory`, or in this folder.
        if database.parent.name.startswith("taskgate-demo-"):
            shutil.rmtree(database.parent, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


def policy_files(
    postgres_port: int, web_port: int, page_port: int, web_host_key: str
) -> dict[str, str]:
    """The demo's policy, with where its database, its host and the host's page are, and the host's
    key."""
    folder = resources.files("taskgate.demo").joinpath("policy")
    filled = {
        "{port}": str(postgres_port),
        "{web_port}": str(web_port),
        "{page_port}": str(page_port),
        "{web_host_key}": web_host_key,
    }
    return {
        entry.name: _filled(entry.read_text("utf-8"), filled)
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text
