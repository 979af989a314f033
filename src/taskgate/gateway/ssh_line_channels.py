"""What stands for a client's channel before a host: a line of a gated shell, and a question of the
gate's own."""

from typing import Protocol

from taskgate.protocols.ssh.conversation import Asked, Ended, FarEnd, Stream, Terminal
from taskgate.protocols.ssh.refusals import status_of_signal, told


class Shell(Protocol):
    """What a line asks of its shell."""

    @property
    def terminal(self) -> Terminal | None: ...

    @property
    def client_takes(self) -> bool:
        """Whether the client reads what it is sent."""
        ...

    @property
    def seconds_silent(self) -> float: ...

    def output(self, data: bytes, datatype: int | None) -> None: ...

    def tell(self, text: str) -> None: ...

    def pace(self) -> None:
        """Whether the client is read may be another matter now."""
        ...


class _Near:
    """What stands for a client before a host."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.stream: Stream | None = None
        self.host: FarEnd | None = None
        self.bytes_to_host = 0
        self.bytes_to_client = 0

    @property
    def seconds_silent(self) -> float:
        return 0.0

    def join(self, host: FarEnd, stream: Stream | None = None) -> None:
        self.host = host

    def read(self, wanted: bool, *, stream: bool = False) -> None:
        """Whatever is typed waits at the prompt."""

    def end_output(self) -> None:
        """The client's channel stays open."""


class HostAnswer(_Near):
    """Takes what the host says to the gate itself."""

    def __init__(self) -> None:
        super().__init__(Asked())
        self.output = bytearray()

    def join(self, host: FarEnd, stream: Stream | None = None) -> None:
        host.end_input()

    def write(self, data: bytes, datatype: int | None) -> None:
        self.bytes_to_client += len(data)
        if datatype is None:
            self.output.extend(data)

    def tell(self, text: str) -> None:
        """Nobody listens."""

    def exit(self, status: int) -> None:
        """There is nothing to close."""

    def exit_as(self, ended: Ended) -> None:
        """There is nothing to close."""


class LineChannel(_Near):
    """One line, as a channel of its own: its command's output goes to the shell's client. `raw`:
    the command has the client's terminal."""

    def __init__(self, shell: Shell, asked: Asked) -> None:
        super().__init__(asked)
        self.status: int | None = None
        self.raw = asked.terminal is not None
        self.host_takes = True
        self._shell = shell

    @property
    def seconds_silent(self) -> float:
        return self._shell.seconds_silent

    def join(self, host: FarEnd, stream: Stream | None = None) -> None:
        self.host = host
        host.read(self._shell.client_takes)
        # What is typed is for the next line: a command without a terminal is given nothing.
        if not self.raw and self.stream is not None:
            self.stream.client_ended()
        elif not self.raw:
            host.end_input()

    def read(self, wanted: bool, *, stream: bool = False) -> None:
        self.host_takes = wanted
        self._shell.pace()

    def type(self, data: bytes) -> None:
        if self.host is None:
            return
        self.bytes_to_host += len(data)
        if self.stream is not None:
            self.stream.from_client(data)
        else:
            self.host.write(data)

    def write(self, data: bytes, datatype: int | None) -> None:
        self.bytes_to_client += len(data)
        if not self.raw and self._shell.terminal is not None:
            data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        self._shell.output(data, datatype)

    def tell(self, text: str) -> None:
        self._shell.tell(text)

    def exit(self, status: int) -> None:
        if self.status is None:
            self.status = status

    def exit_as(self, ended: Ended) -> None:
        if ended.signal and ended.signal != "INT":
            self._shell.tell(told([f"taskgate: ended by signal {ended.signal}"]))
        self.exit(ended.status if ended.status is not None else status_of_signal(ended.signal))
