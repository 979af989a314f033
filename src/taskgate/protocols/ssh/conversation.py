"""What the driver and the gateway say to each other about one SSH connection: plain types, and who
must be able to do what. Neither side sees asyncssh in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from taskgate.model.errors import TaskgateError, UpstreamFault
from taskgate.protocols.ssh.place import Place

# The type of extended data that is standard error (RFC 4254, section 5.2).
STDERR: Final = 1


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal that a client asked for (RFC 4254, section 6.2): its type, its size in columns
    and rows and in pixels, and its modes by their opcode."""

    type: str
    columns: int
    rows: int
    width: int = 0
    height: int = 0
    modes: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class X11:
    """Windows that a client offers to show (RFC 4254, section 6.3.1). `cookie` is what programs of
    the host prove themselves by to the client; it is made for this one channel."""

    single_connection: bool
    protocol: bytes
    cookie: bytes = field(repr=False)
    screen: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What a channel is for (RFC 4254, section 6.5): a command, a subsystem, or, with neither, a
    shell. `environment` is what the client wants set; `agent` and `x11` what it lends, as far as
    some rule is about it; `place` where a line of a gated shell stands."""

    command: str | None = None
    subsystem: str | None = None
    terminal: Terminal | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    agent: bool = False
    x11: X11 | None = None
    place: Place | None = None

    @property
    def is_shell(self) -> bool:
        return self.command is None and self.subsystem is None


@dataclass(frozen=True, slots=True)
class Start:
    """What is started at the host for a channel: a command, a subsystem, or, with neither, a
    shell. `max_bytes` is the most that may be answered."""

    command: str | None = None
    subsystem: str | None = None
    terminal: Terminal | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int | None = None
    agent: bool = False
    x11: X11 | None = None

    @property
    def what(self) -> str:
        """For messages."""
        if self.command is not None:
            return "the command"
        return self.subsystem if self.subsystem is not None else "the shell"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended at the host: its exit status, or the signal that ended it; None and
    empty where the host closed the channel without a word. `over`: the answer was longer than the
    task allows, so it was ended."""

    status: int | None = None
    signal: str = ""
    core_dumped: bool = False
    over: bool = False


class HostKeyRefused(UpstreamFault):
    """A host showed a key that is not the one. `shown` is the key's fingerprint, empty where a
    known key or certificate is no good."""

    def __init__(self, message: str, *, hint: str = "", shown: str = "") -> None:
        super().__init__(message, hint=hint)
        self.shown = shown


@dataclass(frozen=True, slots=True)
class HostCredential:
    """What the gate signs in with at a host, looked up or made just now. `certificate` goes with
    the private key; `shown` says of it what helps to find out why a host does not take it."""

    username: str
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    certificate: str | None = None
    shown: str = ""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`line` is the kind and the key itself, as in a `.pub` file; `comment` what stands behind."""

    line: str
    fingerprint: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key that a client has signed with for this connection (RFC 4252, section 7)."""

    fingerprint: str


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """A user's certificate whose key a client has signed with, its own signature and times
    checked. `ca` is the line of the key that signed it; `sources` the only networks it may come
    from, empty for all."""

    fingerprint: str
    ca: str
    serial: int
    principals: tuple[str, ...]
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked or told before they are signed in (RFC 4256, section 3.2): each
    prompt, and whether the answer may be seen while it is typed."""

    name: str
    instruction: str
    prompts: tuple[tuple[str, bool], ...] = ()


class FarEnd(Protocol):
    """What a client's channel is joined to. Nothing here raises."""

    def write(self, data: bytes) -> None: ...

    def end_input(self) -> None: ...

    def read(self, wanted: bool) -> None:
        """Whether the client takes more of its answer."""
        ...

    def resize(self, columns: int, rows: int, width: int, height: int) -> None: ...

    def signal(self, name: str) -> None: ...

    def send_break(self, msec: int) -> None: ...


class NearEnd(Protocol):
    """What a host's channel is joined to: a client's channel, or what stands for one. Nothing here
    raises. A `datatype` is SSH's own (RFC 4254, section 5.2): None for plain output."""

    stream: "Stream | None"
    bytes_to_client: int

    def join(self, host: FarEnd) -> None:
        """The host takes what the client sends from here on."""
        ...

    def write(self, data: bytes, datatype: int | None) -> None: ...

    def end_output(self) -> None: ...

    def read(self, wanted: bool, *, stream: bool = False) -> None:
        """Whether the host, or the stream between, takes more of the client."""
        ...


class ClientChannel(Protocol):
    """A client's session channel, as the gateway uses it."""

    @property
    def asked(self) -> Asked: ...

    @property
    def bytes_to_host(self) -> int: ...

    @property
    def bytes_to_client(self) -> int:
        """How much the host has answered so far."""
        ...

    @property
    def seconds_silent(self) -> float:
        """How long nothing has come or gone."""
        ...

    def join(self, host: FarEnd, stream: "Stream | None" = None) -> None:
        """The client is read from here on, and joined to `host`; what it sends passes through
        `stream`, which is attached already."""
        ...

    def read(self, wanted: bool) -> None:
        """Whether more of the client may come."""
        ...

    def write(self, data: bytes, datatype: int | None) -> None:
        """Passes on output; nothing once it is closed."""
        ...

    def tell(self, text: str) -> None:
        """Writes lines for people to the client's standard error; nothing once it is closed."""
        ...

    def exit(self, status: int) -> None:
        """Closes the channel with an exit status."""
        ...

    def exit_as(self, ended: Ended) -> None:
        """Closes the channel as a command at the host has ended."""
        ...


class StreamSides(Protocol):
    """Where a stream's bytes go."""

    def to_client(self, data: bytes, stderr: bool = False) -> None: ...

    def to_host(self, data: bytes) -> None: ...

    def end_host_input(self) -> None: ...

    def read_client(self, wanted: bool) -> None:
        """Whether more of the client may come. The host's own pace is kept all the same."""
        ...

    def fail(self, error: TaskgateError) -> None:
        """Ends the stream: whoever waits for its end gets `error`."""
        ...


class Stream(Protocol):
    """What reads both directions of a channel before they pass."""

    def attach(self, sides: StreamSides) -> None: ...

    def from_client(self, data: bytes) -> None: ...

    def client_ended(self) -> None:
        """The client sends no more."""
        ...

    def resized(self, columns: int, rows: int) -> None:
        """The client's terminal has another size; the host is told all the same."""
        ...

    def from_host(self, data: bytes, stderr: bool) -> None: ...

    def host_ended(self) -> None:
        """The host sends no more; what is still kept back has to go now. May come twice."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A TCP port, as somebody named it."""

    host: str
    port: int


# What a connection leads to: a port, or a Unix socket's path.
Target = Endpoint | str


class Link(Protocol):
    """A connection through the gate: a channel of the client's and one of the host's. One of them
    asked for it and waits until the other is open too, or it is refused."""

    @property
    def bytes_to_host(self) -> int: ...

    @property
    def bytes_to_client(self) -> int: ...

    @property
    def seconds_silent(self) -> float:
        """How long nothing has come or gone."""
        ...

    @property
    def over(self) -> bool:
        """Whether it was longer than it may be, so it was cut."""
        ...

    def refuse(self, text: str) -> None:
        """Tells whoever asked for it; nothing once both are open."""
        ...

    async def reach_client(self, max_bytes: int | None = None) -> None:
        """Opens the client's side of what the host asked for, and waits for the end of both.
        `max_bytes` is the most that the client may be given. Cancelling cuts it.

        Raises: UpstreamFault where the client does not take it.
        """
        ...


class Listening(Protocol):
    """A port at the host on which the client wants to be reached (RFC 4254, section 7.1)."""

    @property
    def port(self) -> int:
        """The one that the host listens on, once it does."""
        ...

    def refuse(self) -> bool:
        """Whether the client hears it; False once it was told that the host listens."""
        ...


class Host(Protocol):
    """A connection to a resource."""

    async def start(
        self, channel: ClientChannel, start: Start, stream: Stream | None = None
    ) -> Ended:
        """Starts something and joins the client's channel to it until it has ended; the channel
        stays open. With a `stream`, both directions pass through it. Cancelling ends it at the
        host.

        Raises: UpstreamFault, and what the stream failed with.
        """
        ...

    async def connect(self, link: Link, to: Target, max_bytes: int | None = None) -> None:
        """Has the host connect to a place, joins the client to it, and waits for the end of both.
        `max_bytes` is the most that may be answered. Cancelling cuts it.

        Raises: UpstreamFault.
        """
        ...

    async def listen(
        self, listening: Listening, at: Endpoint, arrived: Callable[[Link, Endpoint], None]
    ) -> None:
        """Has the host listen until the client wants it no more. `arrived` is given each
        connection that comes in there, and where it says that it comes from.

        Raises: UpstreamFault where the host does not, and where it is lost.
        """
        ...

    @property
    def alive(self) -> bool: ...

    def end(self) -> None:
        """Ends what runs there: without a terminal it would outlive the connection."""
        ...

    def close(self) -> None: ...


class ClientLine(Protocol):
    """A client's connection, as the gateway uses it."""

    @property
    def peer(self) -> str: ...

    @property
    def version(self) -> str:
        """What the client calls itself (RFC 4253, section 4.2)."""
        ...

    def tell_before_sign_in(self, text: str) -> None:
        """Says something to somebody who is not signed in yet (RFC 4252, section 5.4)."""
        ...

    def tell(self, text: str) -> None:
        """Says something that belongs to no channel (RFC 4253, section 11.3); most clients show
        it where they are asked to tell much (`ssh -v`)."""
        ...

    def give_time(self, seconds: float) -> None:
        """Somebody is asked something: from now on they have so long to sign in."""
        ...

    def disconnect(self, text: str) -> None:
        """Ends the connection and says why."""
        ...


class Visitor(Protocol):
    """What the driver asks of the gateway for one client. None of these may raise."""

    async def sign_in(self, user: str, secret: str) -> bool:
        """Whether that secret lets the client in."""
        ...

    def may_show_key(self) -> bool:
        """Whether one more key may be shown, signed with or not; counted."""
        ...

    async def sign_in_by_key(self, user: str, shown: ShownKey | ShownCertificate) -> bool:
        """Whether a key that the client has signed with lets it in."""
        ...

    def may_be_asked(self) -> bool:
        """Whether a password or an answer could still let the client in."""
        ...

    def ask(self, user: str) -> Question:
        """The first question to a person who would rather be asked."""
        ...

    async def answer(self, user: str, answers: Sequence[str]) -> Question | bool:
        """Takes their answers: whether these let the client in, or the next question."""
        ...

    def signed_in(self) -> None:
        """The client has been told so."""
        ...

    def may_open(self) -> bool:
        """Whether one more channel may be opened; counted as open until `left`."""
        ...

    def left(self) -> None:
        """A channel that was counted is no more."""
        ...

    def opened(self, channel: ClientChannel) -> None:
        """A channel was asked for something."""
        ...

    def closed(self, channel: ClientChannel) -> None:
        """The client has closed a channel, or it is gone."""
        ...

    def connect(self, link: Link, to: Target) -> None:
        """The client wants a connection to be made at the host."""
        ...

    def listen(self, listening: Listening, at: Endpoint) -> None:
        """The client wants to be reached by a port of the host's."""
        ...

    def may_lend(self, verb: str) -> bool:
        """Whether some rule lets the host use the client's `agent` or `x11`. Recorded if none."""
        ...

    def lent(self, channel: ClientChannel, link: Link, verb: str) -> None:
        """The host, or something there, uses what a channel lends it."""
        ...

    def refused(self, what: str) -> None:
        """The driver refused something that no rule permits."""
        ...

    def lost(self) -> None:
        """The connection has ended."""
        ...
