"""The demo's SSH server: `python -m taskgate.demo.sshd`, so that a first run needs no OpenSSH.

It is a host behind the gate, no part of the gate. One key lets in; commands and shells run in a
folder that is their home, files are served from that folder alone. Nothing keeps a command inside
that folder: who runs it may do what the server's account may do.

Its settings are a line of JSON on standard input (`Serving`). It says `ready` once it listens, and
ends when standard input does, so it never outlives whoever started it.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import asyncssh
from asyncssh.stream import SSHTCPStreamSession

_CHUNK = 65536
_Source: TypeAlias = "asyncio.StreamReader | asyncssh.SSHReader[bytes]"
_Sink: TypeAlias = "asyncio.StreamWriter | asyncssh.SSHWriter[bytes]"
_KILL_AFTER_S = 2.0
# What still comes from a terminal whose shell has ended.
_LAST_WORDS_S = 1.0
_PASSED_ON = ("LANG", "LC_")


@dataclass(frozen=True, slots=True)
class Serving:
    """What the server is to do. `port` is its own and `page_port` its web page's, both of
    127.0.0.1. Keys are in OpenSSH's forms. `uid` and `gid` are whom root steps down to; None for
    anybody else."""

    port: int
    page_port: int
    root: str
    user: str
    host_key: str = field(repr=False)
    authorized_key: str
    uid: int | None
    gid: int | None


class _Doorman(asyncssh.SSHServer):
    """Lets in one user by one key."""

    def __init__(self, serving: Serving) -> None:
        self._user = serving.user
        self._key = asyncssh.import_public_key(serving.authorized_key)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == self._user and key == self._key

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Any:
        # To this host itself, as a host whose firewall lets nothing out.
        return dest_host in ("localhost", "127.0.0.1") and _connect(dest_host, dest_port)


async def _connect(host: str, port: int) -> "SSHTCPStreamSession[bytes]":
    """asyncssh's own forwarding leaves the channel open where the far side ends first."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(error)) from None

    async def relay(said: "asyncssh.SSHReader[bytes]", told: "asyncssh.SSHWriter[bytes]") -> None:
        await asyncio.gather(_to_its_end(said, writer), _to_its_end(reader, told))
        writer.close()
        told.close()

    return SSHTCPStreamSession(relay)


class _Files(asyncssh.SFTPServer):
    def exit(self) -> None:
        # scp takes a channel that ends without a status for one that failed.
        self.channel.exit(0)


class _Shells:
    """Runs what clients ask for."""

    def __init__(self, serving: Serving) -> None:
        self._root = serving.root
        self._user = serving.user
        self._shell = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"
        self._running: set[asyncio.subprocess.Process] = set()

    async def serve(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        """One command or shell, until it has ended or its client is gone."""
        arguments = [self._shell]
        if process.command is not None:
            arguments += ["-c", process.command]
        try:
            if process.term_type is None:
                await self._by_pipes(process, arguments)
            else:
                await self._by_terminal(process, arguments)
        except (OSError, asyncssh.Error) as error:
            print(f"a command failed: {error}", file=sys.stderr, flush=True)
            process.exit(1)

    def end_all(self) -> None:
        for child in self._running:
            _signal(child, signal.SIGKILL)

    async def _by_pipes(
        self, process: "asyncssh.SSHServerProcess[bytes]", arguments: list[str]
    ) -> None:
        piped = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            *arguments, stdin=piped, stdout=piped, stderr=piped, start_new_session=True,
            cwd=self._root, env=self._environment(process),
        )  # fmt: skip
        assert child.stdin is not None  # noqa: S101
        assert child.stdout is not None  # noqa: S101
        assert child.stderr is not None  # noqa: S101
        output = _copying((child.stdout, process.stdout), (child.stderr, process.stderr))
        await self._attend(process, child, child.stdin, None, output, None)

    async def _by_terminal(
        self, process: "asyncssh.SSHServerProcess[bytes]", arguments: list[str]
    ) -> None:
        master, slave = pty.openpty()
        try:
            _resize(master, process.term_size[0], process.term_size[1])
            child = await asyncio.create_subprocess_exec(
                *arguments, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                cwd=self._root, env=self._environment(process), preexec_fn=_take_terminal,
            )  # fmt: skip
        finally:
            os.close(slave)
        loop = asyncio.get_running_loop()
        shown = asyncio.StreamReader()
        reading, _ = await loop.connect_read_pipe(
            lambda: _Screen(shown), os.fdopen(os.dup(master), "rb", 0)
        )
        writing, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()),
            os.fdopen(os.dup(master), "wb", 0),
        )
        typed = asyncio.StreamWriter(writing, protocol, None, loop)
        try:
            output = _copying((shown, process.stdout))
            await self._attend(process, child, typed, master, output, _LAST_WORDS_S)
        finally:
            reading.close()
            writing.close()
            os.close(master)

    async def _attend(
        self,
        process: "asyncssh.SSHServerProcess[bytes]",
        child: asyncio.subprocess.Process,
        to_child: asyncio.StreamWriter,
        terminal: int | None,
        output: "asyncio.Task[None]",
        patience_s: float | None,
    ) -> None:
        self._running.add(child)
        feeding = asyncio.create_task(_feed(process, child, to_child, terminal))
        gone = asyncio.create_task(process.channel.wait_closed())
        ended = asyncio.create_task(child.wait())
        try:
            await asyncio.wait({gone, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                _signal(child, signal.SIGHUP)
                await asyncio.wait({ended}, timeout=_KILL_AFTER_S)
                _signal(child, signal.SIGKILL)
                await ended
                return
            await asyncio.wait(
                {gone, output}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
            )
            status = ended.result()
            if status < 0:
                process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
            else:
                process.exit(status)
        finally:
            for task in (feeding, gone, output):
                task.cancel()
            self._running.discard(child)

    def _environment(self, process: "asyncssh.SSHServerProcess[bytes]") -> Mapping[str, str]:
        asked = {name: value for name, value in process.env.items() if name.startswith(_PASSED_ON)}
        found = {
            **asked,
            "HOME": self._root,
            "USER": self._user,
            "LOGNAME": self._user,
            "SHELL": self._shell,
            "PATH": f"{self._root}/bin:/usr/local/bin:/usr/bin:/bin",
        }
        if process.term_type is not None:
            found["TERM"] = process.term_type
        return found


class _Screen(asyncio.StreamReaderProtocol):
    """What a terminal shows. One whose last user is gone reads as an error, which a reader would
    put before what it has not given out yet."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(None)


async def _feed(
    process: "asyncssh.SSHServerProcess[bytes]",
    child: asyncio.subprocess.Process,
    to_child: asyncio.StreamWriter,
    terminal: int | None,
) -> None:
    """What the client types, and its signals, until it sends no more."""
    while True:
        try:
            data = await process.stdin.read(_CHUNK)
        except asyncssh.TerminalSizeChanged as changed:
            if terminal is not None:
                _resize(terminal, changed.width, changed.height)
            continue
        except asyncssh.SignalReceived as received:
            with contextlib.suppress(KeyError):
                _signal(child, signal.Signals[f"SIG{received.signal}"])
            continue
        except asyncssh.BreakReceived:
            continue
        try:
            if not data:
                if terminal is None:
                    to_child.close()
                return
            to_child.write(data)
            await to_child.drain()
        except OSError:
            return  # the command reads no more


async def _pass_on(source: _Source, sink: _Sink) -> None:
    # A client may leave at any time.
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()


async def _to_its_end(source: _Source, sink: _Sink) -> None:
    await _pass_on(source, sink)
    with contextlib.suppress(OSError, asyncssh.Error):
        sink.write_eof()


def _copying(
    *pairs: "tuple[asyncio.StreamReader, asyncssh.SSHWriter[bytes]]",
) -> "asyncio.Task[None]":
    async def every() -> None:
        await asyncio.gather(*(_pass_on(source, sink) for source, sink in pairs))

    return asyncio.create_task(every())


def _signal(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _resize(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _take_terminal() -> None:  # runs in the child, between fork and exec
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _step_down(serving: Serving) -> None:
    os.umask(0o022)
    if serving.uid is not None and serving.gid is not None:
        os.setgroups([])
        os.setgid(serving.gid)
        os.setuid(serving.uid)


async def _show(page: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The host's web server, as much as it has of one: the page of the current release."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        await reader.readuntil(b"\r\n\r\n")
        text = page.read_bytes()  # noqa: ASYNC240 - a line or two
        head = f"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(text)}\r\n\r\n"
        writer.write(head.encode() + text)
        await writer.drain()
    writer.close()


async def _serve(serving: Serving) -> None:
    shells = _Shells(serving)
    root = os.fsencode(serving.root)
    listening = await asyncssh.listen(
        "127.0.0.1", serving.port, server_factory=lambda: _Doorman(serving),
        server_host_keys=[asyncssh.import_private_key(serving.host_key)],
        process_factory=shells.serve, encoding=None, line_editor=False,
        sftp_factory=lambda channel: _Files(channel, chroot=root),
    )  # fmt: skip
    page = Path(serving.root) / "srv/app/current/index.html"
    web = await asyncio.start_server(
        lambda reader, writer: _show(page, reader, writer), "127.0.0.1", serving.page_port
    )
    _step_down(serving)
    print("ready", flush=True)
    async with listening, web:
        lifeline = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lifeline), sys.stdin)
        await lifeline.read()
    shells.end_all()


def main() -> None:
    # Ctrl-C in the terminal is for whoever started this; the end of its input ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve(Serving(**json.loads(sys.stdin.readline()))))


if __name__ == "__main__":
    main()
