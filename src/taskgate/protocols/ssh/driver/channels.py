"""A client's channel and the host's, joined: bytes pass, and neither side is read while the other
does not take what it is sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import asyncssh
from asyncssh import SSHClientChannel, SSHServerChannel
from asyncssh.packet import Boolean, String, UInt32

from taskgate.model.errors import TaskgateError
from taskgate.model.limits import MAX_CHANNEL_VARIABLES, MAX_VARIABLE_BYTES
from taskgate.protocols.ssh.conversation import (
    X11,
    Asked,
    Ended,
    FarEnd,
    NearEnd,
    Start,
    Stream,
    Terminal,
    Visitor,
)
from taskgate.protocols.ssh.driver.forwards import CHANNEL, JoinedLink, Side
from taskgate.protocols.ssh.driver.windows import hold_to_window

WINDOW_BYTES: Final = 2 * 1024 * 1024
MAX_PACKET_BYTES: Final = 32 * 1024
_END_OUTPUT_S: Final = 0.2
_TERMINAL_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")


class GateChannel(SSHServerChannel[bytes]):
    """asyncssh's channel, which takes any number of variables and would forward what it may not."""

    visitor: Visitor
    # Whether there is a host by now that reads what the client sends.
    joined = False
    # What the client lends to the host.
    agent = False
    x11: X11 | None = None

    def resume_reading(self) -> None:
        # asyncssh begins to read as soon as a command is accepted.
        if self.joined:
            super().resume_reading()

    def _process_env_request(self, packet: Any) -> bool:
        name, value = packet.get_string(), packet.get_string()
        packet.check_end()
        kept: dict[bytes, bytes] = self._env
        if len(name) + len(value) > MAX_VARIABLE_BYTES or len(kept) >= MAX_CHANNEL_VARIABLES:
            return False
        kept[name] = value
        return True

    def _process_x11_req_request(self, packet: Any) -> bool:
        single, protocol, cookie = packet.get_boolean(), packet.get_string(), packet.get_string()
        screen = packet.get_uint32()
        packet.check_end()
        if self.x11 is not None or not self.visitor.may_lend("x11"):
            return False
        self.x11 = X11(single, protocol, cookie, screen)
        return True

    def _process_auth_agent_req_at_openssh_dot_com_request(self, packet: Any) -> None:
        packet.check_end()
        self.agent = self.agent or self.visitor.may_lend("agent")
        self._report_response(self.agent)


class ClientSide(asyncssh.SSHServerSession[bytes]):
    """A client's session channel. It is not read before there is a host to read it."""

    def __init__(self, visitor: Visitor) -> None:
        self.asked = Asked()
        self.host: FarEnd | None = None
        self.stream: Stream | None = None
        self.bytes_to_host = 0
        self.bytes_to_client = 0
        self._visitor = visitor
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._command: str | None = None
        self._subsystem: str | None = None
        self._terminal: Terminal | None = None
        self._channel: GateChannel | None = None
        self._ended_input = False
        self._exited = False
        self._host_takes = True
        self._stream_takes = True
        self.full = False

    # What asyncssh says.

    def connection_made(self, chan: SSHServerChannel[bytes]) -> None:
        self._channel = cast(GateChannel, chan)
        hold_to_window(chan)

    def pty_requested(
        self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Mapping[int, int]
    ) -> bool:
        if not _TERMINAL_TYPE.match(term_type):
            # It becomes a variable of the host's (TERM) that names a file there.
            self._visitor.refused("a terminal whose type is no plain name")
            return False
        columns, rows, width, height = term_size
        self._terminal = Terminal(term_type, columns, rows, width, height, dict(term_modes))
        return True

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        self._subsystem = subsystem
        return True

    def session_started(self) -> None:
        channel = self._channel
        if channel is None:
            return
        self.asked = Asked(
            self._command, self._subsystem, self._terminal, dict(channel.get_environment()),
            channel.agent, channel.x11,
        )  # fmt: skip
        self._visitor.opened(self)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._last = self._loop.time()
        if self.host is not None:
            self.bytes_to_host += len(data)
            if self.stream is not None:
                self.stream.from_client(data)
            else:
                self.host.write(data)

    def eof_received(self) -> bool:
        self._ended_input = True
        if self.host is not None:
            self._end_host_input()
        return True

    def _end_host_input(self) -> None:
        if self.stream is not None:
            self.stream.client_ended()
        elif self.host is not None:
            self.host.end_input()

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self.stream is not None:
            self.stream.resized(width, height)
        if self.host is not None:
            self.host.resize(width, height, pixwidth, pixheight)

    def signal_received(self, signal: str) -> None:
        if self.host is not None:
            self.host.signal(signal)

    def break_received(self, msec: int) -> bool:
        if self.host is None:
            return False
        self.host.send_break(msec)
        return True

    def pause_writing(self) -> None:
        self.full = True
        if self.host is not None:
            self.host.read(False)

    def resume_writing(self) -> None:
        self.full = False
        if self.host is not None:
            self.host.read(True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel = None
        self._visitor.left()
        self._visitor.closed(self)

    # What the gateway and the host's side ask.

    def lend(self, verb: str) -> JoinedLink | None:
        """A link to the client's agent or windows; None where there may be no more."""
        if self._channel is None or not self._visitor.may_open():
            return None
        connection = self._channel.get_connection()

        async def to_client(session: Callable[[], Side]) -> None:
            if verb == "agent":
                await connection.create_agent_channel(**CHANNEL).open(session)
            else:
                # The host's word for who it is from is hearsay.
                await connection.create_x11_channel(**CHANNEL).open(session, "127.0.0.1", 0)

        link = JoinedLink(self._visitor, to_client)
        self._visitor.lent(self, link, verb)
        return link

    @property
    def seconds_silent(self) -> float:
        return self._loop.time() - self._last

    def join(self, host: FarEnd, stream: Stream | None = None) -> None:
        """The client is read from here on; what it has sent before comes first."""
        self.host = host
        if stream is not None:
            self.stream = stream
        if self.full:
            host.read(False)
        if self._channel is not None:
            self._channel.joined = True
            self._channel.resume_reading()
        if self._ended_input:
            self._end_host_input()

    def read(self, wanted: bool, *, stream: bool = False) -> None:
        """Reads the client while both the host's channel and the stream take more."""
        if stream:
            self._stream_takes = wanted
        else:
            self._host_takes = wanted
        if self._channel is None:
            return
        if self._stream_takes and self._host_takes:
            self._channel.resume_reading()
        else:
            self._channel.pause_reading()

    def write(self, data: bytes, datatype: int | None) -> None:
        """Passes on what the host says."""
        self._last = self._loop.time()
        self.bytes_to_client += len(data)
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(data, datatype)

    def end_output(self) -> None:
        """The host says no more. As a rule its exit status comes at once, and has to be heard
        first: a shared connection of OpenSSH's takes no status once it has seen the end."""
        self._loop.call_later(_END_OUTPUT_S, self._end_output)

    def _end_output(self) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write_eof()

    def tell(self, text: str) -> None:
        self._last = self._loop.time()
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write_stderr(text.encode())

    def exit(self, status: int) -> None:
        self.exit_as(Ended(status))

    def exit_as(self, ended: Ended) -> None:
        """Ends the channel as the host's has ended."""
        channel = self._channel
        if channel is None or self._exited:
            return
        self._exited = True
        if ended.signal:
            channel.exit_with_signal(ended.signal, ended.core_dumped)
        elif ended.status is not None:
            channel.exit(ended.status)
        else:
            channel.close()


class HostSide(asyncssh.SSHClientSession[bytes]):
    """The host's end. `ended` is done once its channel is closed."""

    def __init__(self, client: NearEnd, start: Start) -> None:
        """Past `start.max_bytes` the command ends."""
        self._client = client
        self._start = start
        self._max_bytes = start.max_bytes
        self._over = False
        self._channel: SSHClientChannel[bytes] | None = None
        self._status: int | None = None
        self._signal = ""
        self._core_dumped = False
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    def connection_made(self, chan: SSHClientChannel[bytes]) -> None:
        self._channel = chan
        hold_to_window(chan)
        # asyncssh would lend this machine's own.
        if self._start.agent:
            chan._send_request(b"auth-agent-req@openssh.com")
        if (x11 := self._start.x11) is not None:
            chan._send_request(
                b"x11-req", Boolean(x11.single_connection), String(x11.protocol),
                String(x11.cookie), UInt32(x11.screen),
            )  # fmt: skip

    def session_started(self) -> None:
        self._client.join(self)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._client.stream is not None:
            self._client.stream.from_host(data, datatype is not None)
        else:
            self._answer(data, datatype)

    def _answer(self, data: bytes, datatype: int | None) -> None:
        most = self._max_bytes
        if self._over or (most is not None and self._client.bytes_to_client + len(data) > most):
            self._over = True
            self.close()
            return
        self._client.write(data, datatype)

    def eof_received(self) -> bool:
        if self._client.stream is not None:
            self._client.stream.host_ended()
        self._client.end_output()
        return True

    # What a stream asks (`conversation.StreamSides`).

    def to_client(self, data: bytes, stderr: bool = False) -> None:
        self._answer(data, asyncssh.EXTENDED_DATA_STDERR if stderr else None)

    def to_host(self, data: bytes) -> None:
        self.write(data)

    def end_host_input(self) -> None:
        self.end_input()

    def read_client(self, wanted: bool) -> None:
        self._client.read(wanted, stream=True)

    def fail(self, error: TaskgateError) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)

    def exit_status_received(self, status: int) -> None:
        self._status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._signal = signal
        self._core_dumped = core_dumped

    def pause_writing(self) -> None:
        self._client.read(False)

    def resume_writing(self) -> None:
        self._client.read(True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel = None
        if self._client.stream is not None:
            self._client.stream.host_ended()
        if not self.ended.done():
            self.ended.set_result(Ended(self._status, self._signal, self._core_dumped, self._over))

    # What the client's side asks.

    # asyncssh calls a channel closing as soon as its input has ended.

    def write(self, data: bytes) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(data)

    def end_input(self) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write_eof()

    def read(self, wanted: bool) -> None:
        if self._channel is None:
            return
        if wanted:
            self._channel.resume_reading()
        else:
            self._channel.pause_reading()

    def resize(self, columns: int, rows: int, width: int, height: int) -> None:
        if self._channel is not None:
            self._channel.change_terminal_size(columns, rows, width, height)

    def signal(self, name: str) -> None:
        if self._channel is not None:
            self._channel.send_signal(name)

    def send_break(self, msec: int) -> None:
        if self._channel is not None:
            self._channel.send_break(msec)

    def close(self) -> None:
        """Ends the command: without a terminal it would outlive its channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.send_signal("TERM")
            channel.close()
