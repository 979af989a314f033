"""One SSH connection in the data path: a client, a host reached when it is first needed, one
recording, and a task for each channel that is asked for something.

What is to run goes to the host only after it was judged, recorded and, where people are asked,
approved.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.holding import Holding
from taskgate.gateway.ssh_admission import admitted
from taskgate.gateway.ssh_files import FilesChannel
from taskgate.gateway.ssh_forwards import Forwards, Means
from taskgate.gateway.ssh_gated import GatedShell
from taskgate.gateway.ssh_masks import MaskedStream
from taskgate.gateway.ssh_run import Held, Run
from taskgate.gateway.ssh_shells import read_request, recorded
from taskgate.gateway.ssh_terminal import TerminalRecord, terminal_room
from taskgate.model.action import Action, Request
from taskgate.model.clock import Clock
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import (
    Denied,
    NotRecorded,
    OverLimit,
    TaskgateError,
    Unreadable,
    UpstreamFault,
)
from taskgate.model.event import EventKind
from taskgate.protocols.ssh.conversation import (
    Asked,
    ClientChannel,
    ClientLine,
    Ended,
    Host,
    Link,
    Start,
)
from taskgate.protocols.ssh.forwards import unless_masked
from taskgate.protocols.ssh.kept_files import file_room
from taskgate.protocols.ssh.refusals import notice, refusal, status_of
from taskgate.protocols.ssh.requests import FILE_VERBS, GATED, SFTP, ExecRequest, lent_action

_log = structlog.get_logger(__name__)
_LENT = {"agent": "agent forwarding", "x11": "X11 forwarding"}


@dataclass(frozen=True, slots=True)
class Around:
    """What a session asks of the gateway around it. `connect` reaches the host and signs in
    there; `closed` puts the session's record away, and is called once; `mask_key` is for masks
    that hash."""

    connect: Callable[[], Coroutine[Any, Any, Host]]
    holding: Holding
    clock: Clock
    closed: Callable[["SshSession", str], Coroutine[Any, Any, None]]
    mask_key: bytes


class SshSession:
    """The driver of one connection's channels."""

    def __init__(self, line: ClientLine, gate: TaskGate, around: Around) -> None:
        self.gate = gate
        self._line = line
        self._around = around
        self._clock = around.clock
        self._runs: dict[ClientChannel, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._host: Host | None = None
        self._reaching = asyncio.Lock()
        self._last_active = self._clock.monotonic()
        self._over = False
        self._room = terminal_room()
        self._file_room = file_room()
        self.forwards = Forwards(
            gate,
            Means(around.holding, around.clock, self._reach, self._spawn, self._cut_by, self._tell),
        )

    @property
    def busy(self) -> bool:
        return bool(self._runs) or self.forwards.busy

    # Channels.

    def opened(self, channel: ClientChannel) -> None:
        """The client has asked for something."""
        self._last_active = self.gate.asked_at = self._clock.monotonic()
        if self._over:
            channel.exit(status_of(UpstreamFault("over")))
            return
        self._begin(channel, self._answer(channel))

    def closed(self, channel: ClientChannel) -> None:
        """The client has closed it."""
        run = self._runs.get(channel)
        if run is not None:
            run.task.cancel("the client closed the channel")

    def _begin(
        self,
        channel: ClientChannel,
        work: Coroutine[Any, Any, None],
        within: ClientChannel | None = None,
    ) -> "asyncio.Task[None]":
        task = self._spawn(self._serve(channel, work))
        self._runs[channel] = Run(task, within=within)
        return task

    def refused(self, what: str) -> None:
        """The wire's driver refused something outright; that it was tried is recorded."""
        if self._over:
            return
        error = Denied(
            f"{what}: no rule of task {self.gate.info.task} permits it",
            rule=f"{self.gate.info.task}/otherwise",
        )
        try:
            self.gate.refuse(what, error)
            self.gate.recording.flush()
        except NotRecorded as problem:
            self._end(problem, problem.message)

    def may_lend(self, verb: str) -> bool:
        """Whether some rule lets the host use the client's `agent` or `x11`; the command it is lent
        for is judged with it."""
        decision = self.gate.judge((lent_action(verb, self.gate.info.resource),))
        if (unless_masked(decision) if verb == "x11" else decision).outcome is not Outcome.DENY:
            return True
        self.refused(_LENT[verb])
        return False

    def lent(self, channel: ClientChannel, link: Link, verb: str) -> None:
        """The host uses what a channel lends it."""
        run = self._runs.get(channel)
        if run is None:
            link.refuse("nothing is lent any more")
            return
        self.forwards.lent(link, run.number, lent_action(verb, self.gate.info.resource))

    def _tell(self, message: str, hint: str = "") -> None:
        """What belongs to no channel: on those that are open, or beside them."""
        text = notice(message, hint)
        for channel, run in self._runs.items():
            if run.within is None:
                (run.shell or channel).tell(text)
        if not self._runs:
            self._line.tell(text)

    async def _serve(self, channel: ClientChannel, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except NotRecorded as error:
            self._end(error, error.message)
        except TaskgateError as error:
            channel.tell(refusal(error))
            channel.exit(status_of(error))
        finally:
            self._runs.pop(channel, None)
            self._last_active = self._clock.monotonic()

    async def _answer(self, channel: ClientChannel) -> None:
        gate = self.gate
        if channel.asked.subsystem == SFTP and gate.speaks_of(FILE_VERBS):
            await self._files(channel)
            return
        asked = self._read(channel.asked)
        number, decision = await self._pass(channel, asked.request, asked.also)
        if asked.tier == GATED:
            await self._gated(channel, asked, number)
            return
        host = await self._reach()
        await gate.recording.settle()
        await self._run(channel, asked, number, decision, host)

    async def _pass(
        self, channel: ClientChannel, request: Request, also: tuple[Action, ...] = ()
    ) -> tuple[int, Decision]:
        """The one way to the host: judged, recorded, and held where people are asked. `also` are
        counted, and recorded, where they make the verdict another one.

        Raises: what the client is told.
        """
        gate = self.gate
        decision = gate.judge(request.actions)
        if also:
            wider = gate.judge((*request.actions, *also))
            if (wider.outcome, wider.demands) != (decision.outcome, decision.demands):
                decision, request = wider, replace(request, actions=(*request.actions, *also))
        wait = partial(self._wait, channel)
        return await admitted(gate, request, decision, wait), decision

    async def _wait(
        self, channel: ClientChannel, number: int, request: Request, decision: Decision
    ) -> TaskgateError | None:
        """Waits for people; meanwhile the client may be silent."""
        run = self._runs[channel]
        waiting = [run] if run.within is None else [run, self._runs[run.within]]
        for one in waiting:
            one.held = True
        try:
            held = Held(self.gate, channel)
            return await self._around.holding.run(held, number, request, decision)
        finally:
            for one in waiting:
                one.held = False

    async def _gated(self, channel: ClientChannel, asked: ExecRequest, number: int) -> None:
        """A shell that the gate itself serves: each line is a request of its own, and all that the
        client sees is the shell's."""
        run = self._runs[channel]
        run.number, run.left_out = number, asked.left_out
        run.started_at = self._clock.monotonic()
        why, ended = "", None
        try:
            record = TerminalRecord(self.gate, number, self._room)
            run.recorded = recorded(channel.asked, asked, record, None, None)
            shell = run.shell = GatedShell(self.gate, channel, self, run.recorded)
            ended = Ended(await shell.serve())
        except asyncio.CancelledError as cancelled:
            why = str(cancelled.args[0]) if cancelled.args else "it was cut off"
            raise
        except OverLimit as error:
            why = error.message
            self._limit(number, why)
            raise
        finally:
            self._finished(channel, run, ended, why)
        channel.exit_as(ended)

    # What a gated shell asks.

    def line(
        self, shell: ClientChannel, line: ClientChannel, work: Coroutine[Any, Any, None] | None
    ) -> "asyncio.Task[None]":
        """Begins a line of a gated shell: a command, or the gate's own `work`."""
        self._last_active = self.gate.asked_at = self._clock.monotonic()
        return self._begin(line, work or self._answer(line), within=shell)

    def give_up(self, line: ClientChannel, why: str) -> None:
        run = self._runs.get(line)
        if run is not None:
            run.task.cancel(why)

    async def permit(self, line: ClientChannel, request: Request) -> int:
        """Judges, records and holds what the gate itself will do.

        Raises: what the client is told.
        """
        number, _ = await self._pass(line, request)
        return number

    async def reach(self) -> Host:
        """Raises: UpstreamFault; Denied where nothing may run any more."""
        error = self.gate.ended()
        if error is not None:
            raise error
        host = await self._reach()
        await self.gate.recording.settle()
        return host

    async def _files(self, channel: ClientChannel) -> None:
        """SFTP: each operation is a request of its own."""
        files = FilesChannel(
            self.gate, channel, self._around.holding, self._clock, self._spawn, self._file_room
        )
        run = self._runs[channel]
        try:
            host = await self._reach()
            await self.gate.recording.settle()
            run.files, run.reading_since = files, self._clock.monotonic()
            ended = await host.start(channel, Start(subsystem=SFTP), files)
        finally:
            if not self._over:
                files.ended("the channel was closed")
        channel.exit_as(ended)

    def _read(self, asked: Asked) -> ExecRequest:
        """Raises: Denied, Unreadable; recorded."""
        gate = self.gate
        text = asked.command or asked.subsystem or "shell"
        try:
            return read_request(asked, gate)
        except (Denied, Unreadable) as error:
            gate.refuse(text, error)
            gate.recording.flush()
            raise

    async def _run(
        self,
        channel: ClientChannel,
        asked: ExecRequest,
        number: int,
        decision: Decision,
        host: Host,
    ) -> None:
        run = self._runs[channel]
        run.number, run.left_out = number, asked.left_out
        most = decision.limits.max_bytes
        if asked.sent is not None:
            run.statement_s = decision.limits.statement_s
        run.started_at = self._clock.monotonic()
        ended, why = None, ""
        try:
            start = Start(
                asked.sent,
                terminal=channel.asked.terminal,
                environment=asked.environment,
                max_bytes=most,
                agent=channel.asked.agent,
                x11=channel.asked.x11,
            )
            if decision.masks:
                terminal = channel.asked.terminal is not None
                run.masked = MaskedStream(decision.masks, self._around.mask_key, terminal=terminal)
            if run.within is None:
                record = TerminalRecord(self.gate, number, self._room)
                run.recorded = recorded(channel.asked, asked, record, run.masked, most)
            ended = await host.start(channel, start, run.recorded or run.masked)
            if ended.status is None and not (ended.signal or ended.over):
                raise UpstreamFault("the host closed the channel", hint="its own log may say why")
        except asyncio.CancelledError as cancelled:
            why = str(cancelled.args[0]) if cancelled.args else "it was cut off"
            raise
        except OverLimit as error:
            why = error.message
            self._limit(number, why)
            raise
        except TaskgateError as error:
            why = error.message
            raise
        finally:
            self._finished(channel, run, ended, why)
        if ended.over:
            raise self._limit(number, f"the answer is longer than {most} bytes")
        channel.exit_as(ended)

    def _finished(self, channel: ClientChannel, run: Run, ended: Ended | None, why: str) -> None:
        """Records how a command ended, once; None where it was cut off."""
        if run.finished or run.started_at is None:
            return
        run.finished = True
        if run.recorded is not None:
            run.recorded.close()
        facts: dict[str, Any] = {
            "duration_s": round(self._clock.monotonic() - run.started_at, 6),
            "bytes_to_host": channel.bytes_to_host,
            "bytes_to_client": channel.bytes_to_client,
        }
        tallies = self.gate.signals.tallies
        tallies.bytes_to_resource += channel.bytes_to_host
        tallies.bytes_to_client += channel.bytes_to_client
        if ended is not None and ended.status is not None:
            facts["exit_status"] = ended.status
        if ended is not None and ended.signal:
            facts["exit_signal"] = ended.signal
        if why:
            facts["reason"] = why
        if run.masked is not None:
            facts |= run.masked.facts()
        if run.left_out:
            facts["variables_left_out"] = list(run.left_out)
        self.gate.finished(run.number, facts)
        self.gate.recording.flush()

    def _limit(self, number: int, why: str) -> OverLimit:
        self.gate.note(EventKind.LIMIT_REACHED, {"request": number, "reason": why})
        self.gate.recording.flush()
        return OverLimit(why, hint=f"it is a limit of task {self.gate.info.task}")

    async def _reach(self) -> Host:
        """The host, reached anew where it was lost."""
        async with self._reaching:
            if self._host is None or not self._host.alive:
                host = await self._around.connect()
                if self._over:
                    host.close()
                    raise UpstreamFault("the session has ended")
                self._host = host
            return self._host

    # The sweep.

    def sweep(self, now: float) -> None:
        idle_s = self.gate.idle_s
        monotonic = self._clock.monotonic()
        for channel, run in list(self._runs.items()):
            most, began = run.statement_s, run.started_at
            if most is not None and began is not None and monotonic - began > most:
                run.statement_s = None
                self._overdue(channel, run, most)
        self.forwards.sweep(monotonic)
        if idle_s is None:
            return
        silences = [c.seconds_silent for c, run in self._runs.items() if run.under_way]
        silences += self.forwards.silences()
        last = max(self._last_active, self.forwards.last_active)
        silent = min(silences, default=0.0 if self.busy else monotonic - last)
        if silent > idle_s:
            self._end(Idle(f"the session was silent for {idle_s:g} s"), "idle")

    def _overdue(self, channel: ClientChannel, run: Run, most: float) -> None:
        why = f"the command ran longer than {most:g} s"
        error = OverLimit(why, hint=f"it is a limit of task {self.gate.info.task}")
        channel.tell(refusal(error))
        run.task.cancel(why)
        channel.exit(status_of(error))

    def cut(self, error: TaskgateError) -> None:
        if not self._over:
            self.gate.cut = error
            self._end(error, error.message)

    def _cut_by(self, error: TaskgateError) -> None:
        self._end(error, error.message)

    # The end.

    def gone(self) -> None:
        """The client's connection has ended."""
        self._end(None, "the client closed the connection")

    def _end(self, error: TaskgateError | None, why: str) -> None:
        if self._over:
            return
        try:
            for channel, run in self._runs.items():
                run.task.cancel(why)
                self._finished(channel, run, None, why)
                if run.files is not None:
                    run.files.ended(why)
            self.forwards.ended(why)
            facts = {"reason": why, "requests": self.gate.requests}
            self.gate.note(EventKind.SESSION_CLOSED, facts)
            self.gate.recording.flush()
        except NotRecorded as problem:
            error, why = problem, problem.message
        self._over = True
        if isinstance(error, NotRecorded):
            # The recording cannot tell of it, so the log must.
            self.gate.signals.recording_errors.inc()
            _log.error("session.not_recorded", session=self.gate.info.id, why=error.message)
        if error is not None:
            for channel, run in self._runs.items():
                if run.within is None:
                    (run.shell.farewell if run.shell else channel.tell)(refusal(error))
                    channel.exit(status_of(error))
            self._line.disconnect(error.message)
        if self._host is not None:
            if error is not None:
                # A client that merely went away may have left something to go on.
                self._host.end()
            self._host.close()
        self._spawn(self._around.closed(self, why))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something beside; a fault there ends the session."""

        async def run() -> None:
            try:
                await work
            except NotRecorded as error:
                self._end(error, error.message)
            except Exception as error:
                self.gate.signals.internal_errors.inc()
                _log.error("session.fault", session=self.gate.info.id, exc_info=error)
                fault = TaskgateError("internal error of the gateway; its log has more")
                self._end(fault, "a fault")

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Idle(TaskgateError):
    """The client said nothing for longer than its task allows."""
