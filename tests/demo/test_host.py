"""The demo's host: OpenSSH's clients find it a host like others; it is not run by root, and does
not outlive its parent."""

import asyncio
import contextlib
import errno
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

from taskgate.demo.cluster import free_port, server_account
from taskgate.demo.host import HOST_USER, Host, HostFault, HostKeys, new_key, public_key
from taskgate.demo.sshd import _Screen
from tests.patience import eventually

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no OpenSSH client")

KEYS = HostKeys(host=new_key(), gate=new_key())


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with tempfile.TemporaryDirectory(prefix="tg-demo-host-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "key").write_text(KEYS.gate)
        (Path(name) / "key").chmod(0o600)
        made = Host(
            Path(name) / "host",
            port=free_port(),
            page_port=free_port(),
            account=server_account(),
            keys=KEYS,
        )
        (Path(name) / "known").write_text(f"[127.0.0.1]:{made.port} {public_key(KEYS.host)}\n")
        made.start()
        yield made
        made.stop()


def options(host: Host, port: str) -> list[str]:
    folder = host.directory.parent
    return [
        "-F", "none", "-i", str(folder / "key"), "-o", f"UserKnownHostsFile={folder / 'known'}",
        "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes",
        "-o", "IdentitiesOnly=yes", port, str(host.port),
    ]  # fmt: skip


def ssh(
    host: Host, *words: str, user: str = HOST_USER, stdin: str = "", options_: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["ssh", *options(host, "-p"), *options_, f"{user}@127.0.0.1", *words],
        input=stdin, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_command_runs_in_its_folder_with_a_small_environment(host: Host) -> None:
    said = ssh(host, "pwd; env | cut -d= -f1 | sort | tr '\\n' ' '")
    home, names = said.stdout.splitlines()
    assert home == str(host.directory)
    assert set(names.split()) <= {
        "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "PWD", "OLDPWD", "SHELL", "SHLVL", "USER", "_",
    }  # fmt: skip


def test_it_is_not_run_by_root(host: Host) -> None:
    said = ssh(host, "id -u; id -G; cat /proc/$PPID/status | grep ^Uid")
    uid, groups, server = said.stdout.splitlines()
    account = server_account()
    assert int(uid) == account.uid != 0
    assert server.split()[1:] == [str(account.uid)] * 4
    if os.geteuid() == 0:
        assert groups == str(account.gid)


def test_status_signal_and_both_outputs_arrive(host: Host) -> None:
    said = ssh(host, "cat; echo no >&2; exit 7", stdin="yes\n")
    assert (said.returncode, said.stdout, said.stderr) == (7, "yes\n", "no\n")
    killed = ssh(host, "kill -TERM $$")
    assert killed.returncode == 255


def test_much_goes_both_ways(host: Host) -> None:
    text = "0123456789abcdef" * 500_000
    said = ssh(host, "cat", stdin=text)
    assert said.stdout == text


def test_a_terminal_is_a_real_one(host: Host) -> None:
    said = ssh(host, "tty; stty size; ps -o tty= -p $$ | tr -d ' '", options_=("-tt",))
    assert said.stdout.startswith("/dev/pts/"), said.stderr
    shell = ssh(host, options_=("-tt",), stdin="echo $((40 + 2))\nexit 5\n")
    assert "42" in shell.stdout
    assert "deploy@web-1" in shell.stdout
    assert shell.returncode == 5


def test_a_command_ends_with_its_client(host: Host) -> None:
    mark = host.directory / "mark"
    running = subprocess.Popen(
        ["ssh", *options(host, "-p"), f"{HOST_USER}@127.0.0.1", "echo $$ > mark; sleep 600"],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    eventually(lambda: mark.exists() and mark.read_text().strip() != "")
    pid = int(mark.read_text())
    running.kill()
    running.wait()
    eventually(lambda: not Path(f"/proc/{pid}").exists())
    mark.unlink()


def test_only_the_gates_key_and_user_get_in(host: Host, tmp_path: Path) -> None:
    assert "Permission denied" in ssh(host, "id", user="root").stderr
    other = tmp_path / "other"
    other.write_text(new_key())
    other.chmod(0o600)
    said = subprocess.run(
        ["ssh", "-i", str(other), *[o for o in options(host, "-p") if o != str(
            host.directory.parent / "key") and o != "-i"], f"{HOST_USER}@127.0.0.1", "id"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "Permission denied" in said.stderr


def test_scp_sees_the_folder_as_the_whole(host: Host, tmp_path: Path) -> None:
    def scp(source: str, target: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["scp", *options(host, "-P"), source, target],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    far = f"{HOST_USER}@127.0.0.1:"
    fetched = tmp_path / "fetched"
    assert scp(f"{far}/srv/app/current/index.html", str(fetched)).returncode == 0
    assert "2 June 2025" in fetched.read_text()
    assert scp(str(fetched), f"{far}/srv/app/uploads/left").returncode == 0
    assert host.read("/srv/app/uploads/left") == fetched.read_text()
    assert scp(f"{far}/../../../../../../../etc/passwd", str(tmp_path / "no")).returncode != 0


def test_it_connects_to_its_own_page_and_nowhere_else(host: Host) -> None:
    request = "GET / HTTP/1.0\r\n\r\n"
    there = ("-W", f"localhost:{host.page_port}")
    assert "2 June 2025" in ssh(host, options_=there, stdin=request).stdout
    away = ssh(host, options_=("-W", "192.0.2.1:80"), stdin=request)
    assert "open failed" in away.stderr


def test_a_connection_ends_whichever_side_ends_first(host: Host) -> None:
    with subprocess.Popen(
        ["ssh", *options(host, "-p"), "-W", f"localhost:{host.page_port}",
         f"{HOST_USER}@127.0.0.1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"GET / HTTP/1.0\r\n\r\n")
        running.stdin.flush()
        # All of it, and the far side's end; only then ours.
        assert running.stdout.read().endswith(b"2 June 2025.\n")
        running.stdin.close()
        assert running.wait(30) == 0


def test_the_service_is_a_pretended_one_and_says_so(host: Host) -> None:
    assert "a demo" in ssh(host, "systemctl status web").stdout
    said = ssh(host, "systemctl restart web && journalctl -u web -n 1")
    assert "a demo" in said.stdout
    assert said.stdout.splitlines()[-1].endswith("restarted by deploy")
    assert ssh(host, "systemctl stop web").returncode == 64


def test_what_was_changed_is_there_after_a_stop(host: Host) -> None:
    ssh(host, "echo kept > srv/app/uploads/kept")
    host.stop()
    host.start()
    assert host.read("/srv/app/uploads/kept") == "kept\n"
    assert ssh(host, "true").returncode == 0


def test_a_taken_port_is_an_error_with_the_servers_words(host: Host, tmp_path: Path) -> None:
    twin = Host(
        tmp_path / "twin",
        port=host.port,
        page_port=free_port(),
        account=server_account(),
        keys=KEYS,
    )
    with pytest.raises(HostFault, match="address already in use"):
        twin.start()


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from taskgate.demo.cluster import server_account
        from taskgate.demo.host import Host, HostKeys, new_key
        host = Host(Path({str(tmp_path / "host")!r}), port={free_port()}, page_port={free_port()},
                    account=server_account(), keys=HostKeys(new_key(), new_key()))
        host.start()
        print(host._process.pid, flush=True)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: not running(server))


def running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "sshd" in Path(f"/proc/{pid}/cmdline").read_text()
    return False


async def test_what_a_terminal_showed_before_its_last_user_left_is_read() -> None:
    shown = asyncio.StreamReader()
    screen = _Screen(shown)
    screen.data_received(b"last words")
    screen.connection_lost(OSError(errno.EIO, "no user is left"))
    assert await shown.read() == b"last words"
