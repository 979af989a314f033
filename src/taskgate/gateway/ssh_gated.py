"""A gated shell: the gate itself talks with the client, and every line is a request of its own.

The client's channel is joined to `GatedShell`, which edits lines; each command gets a `LineChannel`
for a client, so that it goes the same way as a command by `ssh TASK@gate COMMAND`.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.ssh_editor import Ended, GivenUp, LineEditor
from taskgate.gateway.ssh_line_channels import HostAnswer, LineChannel
from taskgate.gateway.ssh_plain_lines import PlainLines
from taskgate.model.action import Action, Request
from taskgate.model.decision import Outcome
from taskgate.model.errors import Denied, TaskgateError, UpstreamFault
from taskgate.model.limits import MAX_HOST_ANSWER_BYTES
from taskgate.protocols.ssh.bound import bound_request
from taskgate.protocols.ssh.completion import Completion, complete, help_lines
from taskgate.protocols.ssh.conversation import (
    STDERR,
    Asked,
    ClientChannel,
    Host,
    Start,
    Stream,
    Terminal,
)
from taskgate.protocols.ssh.gated import (
    Builtin,
    exported,
    is_readable,
    is_unfinished,
    prompt,
    read_builtin,
    read_exports,
    unset,
)
from taskgate.protocols.ssh.place import Place, answered, entering, question, setting
from taskgate.protocols.ssh.refusals import told
from taskgate.protocols.ssh.requests import terminal_actions

_INTERRUPT: Final = 0x03
_QUIT: Final = 0x1C
_INTERRUPTED: Final = 130
# A shell's own status for wrong use of a builtin (POSIX XCU 2.8.1).
_MISUSED: Final = 2
# What a program may have left a terminal in: application keys, mouse reports, colours, no cursor.
_SANE: Final = (
    b"\x1b[?1l\x1b>\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[0m\x1b[?25h"
)
_SIMPLE_TERMINALS: Final = frozenset({"", "dumb", "unknown", "network"})


class Lines(Protocol):
    """What a gated shell asks of its session."""

    def line(
        self, shell: ClientChannel, line: ClientChannel, work: Coroutine[Any, Any, None] | None
    ) -> "asyncio.Task[None]": ...

    def give_up(self, line: ClientChannel, why: str) -> None: ...

    async def permit(self, line: ClientChannel, request: Request) -> int: ...

    async def reach(self) -> Host: ...


class GatedShell:
    """The far end of a client's channel that asked for a shell."""

    def __init__(
        self, gate: TaskGate, channel: ClientChannel, lines: Lines, stream: Stream | None
    ) -> None:
        """`stream` sees all that passes between the client and the shell."""
        self._gate = gate
        self._stream = stream
        self._serving: asyncio.Task[Any] | None = None
        self._failed: TaskgateError | None = None
        self._channel = channel
        self._lines = lines
        terminal = channel.asked.terminal
        self.terminal = terminal
        self._place = Place("/", "/")
        self._status = 0
        self._running: LineChannel | None = None
        self._interrupts = 0
        self._at_line_start = True
        self._over = False
        self.client_takes = True
        self._source: LineEditor | PlainLines
        if terminal is not None and terminal.type not in _SIMPLE_TERMINALS:
            self._source = LineEditor(self._show, self._size, self._complete, is_unfinished)
        else:
            echo = self._show if terminal is not None else None
            self._source = PlainLines(echo, is_unfinished)

    # The client's side (`conversation.FarEnd`).

    def write(self, data: bytes) -> None:
        """What the client types."""
        if self._over:
            return
        running = self._running
        if running is not None and running.raw:
            running.type(data)
        elif running is not None and self.terminal is not None:
            self._meanwhile(data)
        else:
            self._source.feed(data)
        self.pace()

    def _meanwhile(self, data: bytes) -> None:
        """Keys while a command runs that has no terminal: they are for the next line, but for those
        that stop it."""
        for key, name in ((_INTERRUPT, "INT"), (_QUIT, "QUIT")):
            if key in data:
                self._source.drop_waiting()
                self._interrupt(name)
                data = data[data.rindex(key) + 1 :]
        self._source.feed(data)

    def _interrupt(self, name: str) -> None:
        running = self._running
        if running is None:
            return
        self._show("^C\r\n" if name == "INT" else "^\\\r\n")
        self._interrupts += 1
        # A host may take no signals, and a command may ignore them: the second time it is ended.
        if running.host is None or self._interrupts > 1:
            self._lines.give_up(running, "it was given up at the prompt")
        else:
            running.host.signal(name)

    def end_input(self) -> None:
        self._source.end()

    def read(self, wanted: bool) -> None:
        self.client_takes = wanted
        self._source.flow(wanted)
        running = self._running
        if running is not None and running.host is not None:
            running.host.read(wanted)

    def resize(self, columns: int, rows: int, width: int, height: int) -> None:
        if self.terminal is None:
            return
        self.terminal = replace(
            self.terminal, columns=columns, rows=rows, width=width, height=height
        )
        running = self._running
        if running is not None and running.raw and running.host is not None:
            if running.stream is not None:
                running.stream.resized(columns, rows)
            running.host.resize(columns, rows, width, height)
        if isinstance(self._source, LineEditor):
            self._source.resized()

    def signal(self, name: str) -> None:
        if self._running is not None and self._running.host is not None:
            self._running.host.signal(name)

    def send_break(self, msec: int) -> None:
        """A prompt has no use for one."""

    def pace(self) -> None:
        """Reads on while there is room: at the host for a command that has the terminal, else at
        the prompt. Beside any other command the client is read all the same, lest a Ctrl-C wait
        behind the rest."""
        running = self._running
        if running is not None and running.raw:
            self._channel.read(running.host_takes)
        else:
            listening = running is not None and self.terminal is not None
            self._channel.read(listening or not self._source.full)

    def _size(self) -> tuple[int, int]:
        terminal = self.terminal
        if terminal is None:
            return 80, 24
        return terminal.columns or 80, terminal.rows or 24

    def _show(self, text: str) -> None:
        self.output(text.encode(errors="replace"), None)

    def output(self, data: bytes, datatype: int | None) -> None:
        """Bytes for the client, as they are. A terminal has one stream: with two, a client would
        show them in an order of its own."""
        if data and not self._over:
            self._at_line_start = data.endswith(b"\n")
            self._pass(data, datatype if self.terminal is None else None)

    def _pass(self, data: bytes, datatype: int | None) -> None:
        if self._stream is not None:
            self._stream.from_host(data, datatype is not None)
        else:
            self._channel.write(data, datatype)

    def tell(self, text: str) -> None:
        """Lines for people, which begin on a line of their own."""
        if isinstance(self._source, LineEditor) and self._source.show_above(text):
            return
        if self.terminal is not None:
            self._show(text if self._at_line_start else f"\r\n{text}")
        else:
            self.output(text.encode(), STDERR)

    def farewell(self, text: str) -> None:
        """The last words, past a recording that has ended."""
        self._channel.tell(text if self._at_line_start else f"\r\n{text}")

    # The stream's sides (`conversation.StreamSides`).

    def to_client(self, data: bytes, stderr: bool = False) -> None:
        self._channel.write(data, STDERR if stderr else None)

    def to_host(self, data: bytes) -> None:
        self.write(data)

    def end_host_input(self) -> None:
        self.end_input()

    def read_client(self, wanted: bool) -> None:
        self._channel.read(wanted)

    def fail(self, error: TaskgateError) -> None:
        self._failed = error
        if self._serving is not None:
            self._serving.cancel(error.message)

    @property
    def seconds_silent(self) -> float:
        return self._channel.seconds_silent

    # Lines.

    async def serve(self) -> int:
        """Reads and runs lines until the client ends; the status to end with.

        Raises: UpstreamFault, Denied.
        """
        self._serving = asyncio.current_task()
        if self._stream is not None:
            self._stream.attach(self)
        self._channel.join(self, self._stream)
        try:
            return await self._serve()
        except asyncio.CancelledError:
            if self._failed is not None:
                raise self._failed from None
            raise
        finally:
            if self._stream is not None:
                self._stream.host_ended()
            self._over = True

    async def _serve(self) -> int:
        home = await self._ask("", "")
        if home is None:
            raise UpstreamFault(
                "the host did not say where its shell begins",
                hint="a gated shell needs a POSIX shell at the host",
            )
        self._place = Place(home, home, ())
        if self.terminal is not None:
            info = self._gate.info
            self.tell(
                told([f"taskgate: gated shell of task {info.task}: each line is judged; try help"])
            )
        while True:
            try:
                text = await self._next()
            except GivenUp:
                continue
            except Ended:
                break
            if not text.strip():
                continue
            last = await self._do(text)
            if last:
                break
        return self._status

    async def _next(self) -> str:
        if not self._at_line_start and self.terminal is not None:
            self._show("\r\n")
        info = self._gate.info
        said = prompt(info.task, info.resource, self._place.folder, self._size()[0])
        self._at_line_start = False
        try:
            return await self._source.read(said)
        finally:
            self._at_line_start = True
            self.pace()

    async def _do(self, text: str) -> bool:
        """Does one line; whether it was the last one."""
        place = replace(self._place, status=self._status)
        builtin = read_builtin(text, place)
        if builtin is not None and builtin.name in ("exit", "logout"):
            return self._exit(builtin)
        asked = Asked(
            text,
            terminal=self._terminal_for(text),
            environment=self._channel.asked.environment,
            place=place,
        )
        line = LineChannel(self, asked)
        work = self._builtin(builtin, line) if builtin is not None else None
        self._running, self._interrupts = line, 0
        try:
            task = self._lines.line(self._channel, line, work)
            await asyncio.wait({task})
        except asyncio.CancelledError as cancelled:
            self._lines.give_up(
                line, str(cancelled.args[0]) if cancelled.args else "it was cut off"
            )
            raise
        finally:
            self._running = None
            self.pace()
        self._status = line.status if line.status is not None else _INTERRUPTED
        if line.raw:
            self._pass(_SANE, None)
        if self.terminal is None and not is_readable(text):
            # What follows may be a part of it, and must not be taken for lines of their own.
            self.tell(told(["taskgate: the lines that follow are not read"]))
            return True
        return self._over

    def _exit(self, builtin: Builtin) -> bool:
        if builtin.operands:
            wanted = builtin.operands[0]
            self._status = int(wanted) % 256 if wanted.isdecimal() else _MISUSED
        return True

    def _terminal_for(self, text: str) -> Terminal | None:
        """The client's terminal, where the task names all that the line runs."""
        if self.terminal is None:
            return None
        actions = terminal_actions(text, self._place)
        named = actions and self._gate.judge(actions).outcome is not Outcome.DENY
        return self.terminal if named else None

    # What the gate does itself.

    async def _builtin(self, builtin: Builtin, line: LineChannel) -> None:
        match builtin.name:
            case "cd":
                await self._cd(builtin, line)
            case "export" if builtin.operands:
                variables = read_exports(builtin)
                after = exported(self._place, variables)
                await self._did(builtin, line, tuple(map(setting, variables)))
                self._place = after
            case "export":
                self._say([f"export {name}={value}" for name, value in self._place.variables])
            case "unset":
                self._place = unset(self._place, builtin.operands)
            case "pwd":
                self._say([self._place.folder])
            case "history":
                self._say([f"{at:5}  {text}" for at, text in enumerate(self._source.history, 1)])
            case "help":
                self._say(help_lines(self._gate.task))
            case other:
                raise Denied(
                    f"{other}: a gated shell runs one line at a time, none in the background",
                    rule="unknown is refused",
                )
        line.exit(0)

    async def _cd(self, builtin: Builtin, line: LineChannel) -> None:
        """Where it leads is asked of the host, and that is judged. What leads nowhere is judged as
        it is written, so that `no such file` tells nobody about folders they may not see."""
        wanted = (*builtin.operands, "")[0]
        if len(builtin.operands) > 1 or (wanted.startswith("-") and wanted != ""):
            raise Denied(
                "cd takes one folder, and no options",
                rule="unknown is refused",
                hint="cd FOLDER",
            )
        home = self._place.home
        found = await self._ask(wanted, self._place.folder) if wanted else home
        folder = found or self._place.whole(wanted)
        actions = () if folder == home else (entering(folder),)
        await self._did(builtin, line, actions, 0 if found is not None else 1)
        if found is None:
            line.tell(told([f"cd: {wanted}: no such folder, or it may not be entered"]))
            line.exit(1)
            return
        self._place = replace(self._place, folder=found)

    async def _did(
        self,
        builtin: Builtin,
        line: LineChannel,
        actions: tuple[Action, ...],
        status: int = 0,
    ) -> None:
        """Raises: what refuses it."""
        parts = ("ssh builtin 1", builtin.text, self._place.lead())
        request = bound_request(builtin.text, actions, self._gate.info.resource, parts)
        number = await self._lines.permit(line, request)
        self._gate.finished(number, {"duration_s": 0.0, "exit_status": status})
        self._gate.recording.flush()

    async def _ask(self, folder: str, start: str) -> str | None:
        """Where the host says that `cd folder` leads from `start`; None for nowhere."""
        host = await self._lines.reach()
        answer = HostAnswer()
        await host.start(answer, Start(question(folder, start), max_bytes=MAX_HOST_ANSWER_BYTES))
        try:
            return answered(bytes(answer.output))
        except ValueError:
            raise Denied(
                "cd: a folder whose name is no plain UTF-8 text: it cannot be judged",
                rule="unreadable is refused",
            ) from None

    def _say(self, lines: list[str]) -> None:
        text = told(lines)
        self._show(text if self.terminal is not None else text.replace("\r\n", "\n"))

    def _complete(self, before: str) -> Completion | None:
        return complete(self._gate.task, before)
