"""The demo's stand-in for OpenSSH's `ssh` and `scp`, for a machine that has neither:
`python -m taskgate.demo.ssh_client ssh -F CONFIG [-p PORT] [-t] [-W HOST:PORT] HOST [COMMAND...]`

It does what the demo prints and no more. It reads OpenSSH's configuration, so the gate's host key
is checked here too, and asks `SSH_ASKPASS` for the password, as ssh does.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncssh

_CONNECTION_FAILED = 255  # ssh(1), EXIT STATUS
_CHUNK = 65536
# What `taskgate exec` has ssh told, and what this one does without being told.
_DONE_ANYWAY = {"BatchMode=no", "PasswordAuthentication=yes", "PreferredAuthentications=password"}


def _password() -> str:
    asking = os.environ.get("SSH_ASKPASS")
    if not asking:
        raise OSError("it asks nobody for a password; run it under: taskgate connect, or exec")
    done = subprocess.run([asking, "password: "], capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.rstrip("\n")


async def _run(program: str, asked: argparse.Namespace) -> int:
    words: list[str] = asked.words
    named = next((word for word in words if ":" in word), "") if program == "scp" else words[0]
    connection = await asyncssh.connect(
        named.partition(":")[0], asked.port or (), config=[asked.config], password=_password(),
        client_keys=None, agent_path=None, gss_host=None, preferred_auth="password",
    )  # fmt: skip
    try:
        if program == "scp":
            return await _scp(connection, *words)
        if asked.through:
            return await _through(connection, asked.through)
        return await _ssh(connection, words[1:], asked.terminal)
    finally:
        connection.close()


async def _through(connection: asyncssh.SSHClientConnection, place: str) -> int:
    host, _, port = place.rpartition(":")
    try:
        reader, writer = await connection.open_connection(host, int(port))
    except asyncssh.ChannelOpenError as error:
        prohibited = error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
        kind = "administratively prohibited" if prohibited else "connect failed"
        print(f"open failed: {kind}: {error.reason}", file=sys.stderr)
        return _CONNECTION_FAILED
    writer.write(sys.stdin.buffer.read())
    writer.write_eof()
    await _copy(reader, sys.stdout.fileno())
    return 0


async def _ssh(
    connection: asyncssh.SSHClientConnection, command: Sequence[str], terminal: bool
) -> int:
    terminal = terminal or (not command and sys.stdin.isatty())
    process = await connection.create_process(
        " ".join(command) or None, encoding=None, request_pty="force" if terminal else False,
        term_type=os.environ.get("TERM", "dumb") if terminal else None,
        term_size=shutil.get_terminal_size() if terminal else None,
    )  # fmt: skip
    with _raw(terminal):
        feeding = asyncio.create_task(_feed(process, terminal))
        await asyncio.gather(
            _copy(process.stdout, sys.stdout.fileno()), _copy(process.stderr, sys.stderr.fileno())
        )
        await process.wait_closed()
        feeding.cancel()
    return _CONNECTION_FAILED if process.exit_status is None else process.exit_status


async def _feed(process: "asyncssh.SSHClientProcess[bytes]", terminal: bool) -> None:
    loop = asyncio.get_running_loop()
    if terminal:
        loop.add_signal_handler(
            signal.SIGWINCH, lambda: process.change_terminal_size(*shutil.get_terminal_size())
        )
    typed = asyncio.Queue[bytes]()
    descriptor = sys.stdin.fileno()

    def ready() -> None:
        data = os.read(descriptor, _CHUNK)
        typed.put_nowait(data)
        if not data:
            loop.remove_reader(descriptor)

    try:
        loop.add_reader(descriptor, ready)
    except OSError:  # a file, or /dev/null: never waited for
        while data := os.read(descriptor, _CHUNK):
            process.stdin.write(data)
            await process.stdin.drain()
    else:
        while data := await typed.get():
            process.stdin.write(data)
    process.stdin.write_eof()


async def _copy(source: "asyncssh.SSHReader[bytes]", descriptor: int) -> None:
    while data := await source.read(_CHUNK):
        with open(descriptor, "wb", closefd=False) as sink:  # noqa: ASYNC230 - a terminal or a pipe
            sink.write(data)


@contextlib.contextmanager
def _raw(terminal: bool) -> Iterator[None]:
    if not (terminal and sys.stdin.isatty()):
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


async def _scp(connection: asyncssh.SSHClientConnection, source: str, target: str) -> int:
    far = (source if ":" in source else target).partition(":")[2]
    sftp = await connection.start_sftp_client()
    try:
        if ":" in source:
            here = Path(target)
            await sftp.get(far, here / Path(far).name if here.is_dir() else here)  # noqa: ASYNC240
        else:
            await sftp.put(source, far)
    except (asyncssh.SFTPError, OSError) as error:
        print(f"scp: {far}: {error}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    program, *arguments = sys.argv[1:]
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("-F", dest="config", required=True)
    parser.add_argument("-o", dest="options", action="append", default=[])
    parser.add_argument("-p", dest="port", type=int)
    parser.add_argument("-W", dest="through")
    parser.add_argument("-t", dest="terminal", action="store_true")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    known = {"ssh": bool(asked.words), "scp": len(asked.words) == 2, "sftp": False}
    try:
        if known[program] and _DONE_ANYWAY.issuperset(asked.options):
            return asyncio.run(_run(program, asked))
        print(
            f"the demo's own {program} does not know this; OpenSSH's does:"
            " apt-get install openssh-client",
            file=sys.stderr,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        print(f"Host key verification failed: {error.reason}", file=sys.stderr)
    except asyncssh.Error as error:
        print(f"{program}: {error.reason}", file=sys.stderr)
    except OSError as error:
        print(f"{program}: {error}", file=sys.stderr)
    return _CONNECTION_FAILED


if __name__ == "__main__":
    sys.exit(main())
