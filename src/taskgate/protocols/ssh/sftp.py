"""One SFTP channel: a client's requests judged by path, a host's answers passed back.

Paths are asked of the host before they are judged (REALPATH resolves symbolic links), the request
goes on with the path that was judged, and an opened file's path is asked again before its handle is
given out. Requests on handles that are open pass as they come. What is about a path is done one at
a time and in order; meanwhile what comes behind it waits.
"""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final

from taskgate.model.action import Action, Request
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import (
    Denied,
    NotRecorded,
    OverLimit,
    ProtocolViolation,
    TaskgateError,
)
from taskgate.model.limits import MAX_SFTP_HANDLES, MAX_SFTP_PENDING
from taskgate.protocols.gate import Admission, Gate
from taskgate.protocols.ssh import sftp_paths as paths
from taskgate.protocols.ssh.files import OpenFile, file_request
from taskgate.protocols.ssh.kept_files import KeptFile, file_room
from taskgate.protocols.ssh.room import Room
from taskgate.protocols.ssh.sftp_packets import (
    VERSION,
    Fields,
    Framer,
    Kind,
    StatusCode,
    framed,
    number,
    reframed,
    status,
    text,
)
from taskgate.protocols.ssh.unmasked import refused_where_masked

# What is offered to clients of the host's extensions; the others are taken out of its VERSION.
_OFFERED: Final = frozenset(
    (
        b"posix-rename@openssh.com",
        b"hardlink@openssh.com",
        b"lsetstat@openssh.com",
        b"statvfs@openssh.com",
        b"fstatvfs@openssh.com",
        b"fsync@openssh.com",
        b"limits@openssh.com",
    )
)
_ON_HANDLES: Final = frozenset(
    (Kind.CLOSE, Kind.READ, Kind.WRITE, Kind.FSTAT, Kind.FSETSTAT, Kind.READDIR)
)
_FIRST_OWN_ID: Final = 0xFFFF0000


@dataclass(frozen=True, slots=True)
class AskHold:
    """A request waits for people; `hold_ended` says how it went."""

    number: int
    request: Request
    decision: Decision


@dataclass(slots=True)
class Out:
    """What is to be sent, in order; `told` are lines for the client's standard error."""

    to_client: list[bytes] = field(default_factory=list)
    to_host: list[bytes] = field(default_factory=list)
    told: list[TaskgateError] = field(default_factory=list)
    hold: AskHold | None = None


@dataclass(frozen=True, slots=True)
class _Passed:
    """A request on a handle that the host has not answered. A host may answer the handle's closing
    before it."""

    kind: Kind
    file: OpenFile
    handle: bytes
    offset: int = 0
    bytes: int = 0


# What a step waits for: the host's answer to a packet (without its id), or people.
Question = bytes | AskHold
Steps = Generator[Question, Any, bytes]


class SftpExchange:
    """`now` is seconds on a monotonic clock, given with every call."""

    def __init__(self, gate: Gate, resource: str, room: Room | None = None) -> None:
        """`room` is what the session's files may still record."""
        self._gate = gate
        self._resource = resource
        self._room = room or file_room()
        self._client = Framer()
        self._host = Framer()
        self._out = Out()
        self._files: dict[bytes, OpenFile] = {}
        self._passed: dict[int, _Passed] = {}
        self._waiting: deque[bytes] = deque()
        self._steps: Steps | None = None
        self._step_id = 0
        self._told: set[str] = set()
        self._own_id = 0
        self._awaits_host = False
        self._begun = False
        self._ready = False
        self._now = 0.0

    @property
    def full(self) -> bool:
        """Whether no more of the client should be read for now."""
        return len(self._waiting) >= MAX_SFTP_PENDING or len(self._passed) >= MAX_SFTP_PENDING

    @property
    def busy(self) -> bool:
        return self._steps is not None or bool(self._passed)

    def take(self) -> Out:
        out, self._out = self._out, Out()
        return out

    def client_data(self, data: bytes, now: float) -> None:
        """Raises: ProtocolViolation, NotRecorded; then the channel ends."""
        self._now = now
        for packet in self._client.feed(data):
            self._waiting.append(packet)
            if len(self._waiting) > 2 * MAX_SFTP_PENDING:
                raise ProtocolViolation("too many SFTP requests at once")
        self._go_on()

    def host_data(self, data: bytes, now: float) -> None:
        """Raises: ProtocolViolation, NotRecorded; then the channel ends."""
        self._now = now
        for packet in self._host.feed(data):
            self._answered(packet)
        self._go_on()

    def hold_ended(self, error: TaskgateError | None, now: float) -> None:
        """Raises: NotRecorded."""
        self._now = now
        self._step(error)
        self._go_on()

    def ended(self, why: str) -> None:
        """The channel has ended: files that are still open are recorded as they were left."""
        for file in self._files.values():
            self._finished(file.number, file.began, file, why)
        self._files.clear()

    # Requests.

    def _go_on(self) -> None:
        while self._waiting and self._steps is None:
            if len(self._passed) >= MAX_SFTP_PENDING:
                return
            if self._begun and not self._ready:
                return
            self._request(self._waiting.popleft())

    def _request(self, packet: bytes) -> None:
        kind = packet[0]
        if not self._begun:
            if kind != Kind.INIT:
                raise ProtocolViolation("SFTP begins with INIT")
            self._begun = True
            self._out.to_host.append(framed(Kind.INIT, number(VERSION)))
            return
        fields = Fields(packet)
        id_ = fields.number()
        if id_ in self._passed:
            raise ProtocolViolation("an SFTP request's id is in use")
        if kind in _ON_HANDLES:
            self._on_handle(Kind(kind), id_, fields, packet)
            return
        name = b""
        if kind == Kind.EXTENDED:
            name = fields.text()
            if name in (b"fsync@openssh.com", b"fstatvfs@openssh.com"):
                self._on_handle(Kind.EXTENDED, id_, fields, packet)
                return
        steps = paths.steps_of(self, kind, name, fields)
        if steps is None:
            self._out.to_client.append(
                status(id_, StatusCode.UNSUPPORTED, "not passed on by the gate")
            )
            return
        self._steps, self._step_id = steps, id_
        self._step(None)

    def _on_handle(self, kind: Kind, id_: int, fields: Fields, packet: bytes) -> None:
        handle = fields.text()
        file = self._files.get(handle)
        if file is None:
            self._out.to_client.append(status(id_, StatusCode.FAILURE, "no such handle"))
            return
        offset = bytes_ = 0
        try:
            if kind is Kind.READ:
                offset = fields.long()
            elif kind is Kind.WRITE:
                offset, data = fields.long(), fields.text()
                bytes_ = len(data)
                if file.kept is not None:
                    file.kept.content("written", offset, data)
                file.written.add(offset, data)
            elif kind is Kind.FSETSTAT:
                attributes = fields.attributes()
                # To cut a file that is being written is to write; clients do it at the end of each.
                if not (file.writable and attributes.only_size):
                    self._steps = paths.set_on_handle(self, file, handle, attributes)
                    self._step_id = id_
                    self._step(None)
                    return
                if file.kept is not None and attributes.size is not None:
                    file.kept.resized(attributes.size)
        except OverLimit as error:
            self._full(id_, file, error)
            return
        self._passed[id_] = _Passed(kind, file, handle, offset, bytes_)
        self._out.to_host.append(reframed(packet))

    # Answers.

    def _answered(self, packet: bytes) -> None:
        if not self._ready:
            self._version(packet)
            return
        id_ = Fields(packet).number()
        if self._awaits_host and id_ == self._own_id:
            self._awaits_host = False
            self._step(packet)
            return
        passed = self._passed.pop(id_, None)
        if passed is None:
            raise ProtocolViolation("the host answered what nobody asked")
        file = passed.file
        if passed.kind is Kind.READ and packet[0] == Kind.DATA:
            fields = Fields(packet)
            fields.number()
            data = fields.text()
            if file.max_bytes is not None and file.read.count + len(data) > file.max_bytes:
                self._over(id_, file)
                return
            if file.kept is not None:
                try:
                    file.kept.content("read", passed.offset, data)
                except OverLimit as error:
                    self._full(id_, file, error)
                    return
            file.read.add(passed.offset, data)
        elif passed.kind is Kind.WRITE and file.kept is not None:
            if code := paths.code_of(packet):
                file.kept.not_written(passed.offset, passed.bytes, code)
        elif passed.kind is Kind.CLOSE and self._files.get(passed.handle) is file:
            del self._files[passed.handle]
            self._finished(file.number, file.began, file)
        self._out.to_client.append(reframed(packet))

    def _over(self, id_: int, file: OpenFile) -> None:
        why = f"the file is longer than {file.max_bytes} bytes"
        self._gate.note("limit.reached", {"request": file.number, "reason": why})
        self._out.to_client.append(status(id_, StatusCode.FAILURE, why))

    def _full(self, id_: int, file: OpenFile, error: OverLimit) -> None:
        """There is no room to record what was to pass: it does not."""
        if not file.full:
            file.full = True
            self._gate.note("limit.reached", {"request": file.number, "reason": error.message})
        self._out.to_client.append(status(id_, StatusCode.FAILURE, error.message))
        self._tell(error)

    def _version(self, packet: bytes) -> None:
        fields = Fields(packet)
        if not self._begun or packet[0] != Kind.VERSION or fields.number() != VERSION:
            raise ProtocolViolation("the host does not speak SFTP 3")
        kept = b""
        while fields.rest():
            name, value = fields.text(), fields.text()
            if name in _OFFERED:
                kept += text(name) + text(value)
        self._ready = True
        self._out.to_client.append(framed(Kind.VERSION, number(VERSION), kept))

    # Steps: what is about a path.

    def _step(self, answer: Any) -> None:
        steps = self._steps
        if steps is None:
            raise ProtocolViolation("an answer that nothing waits for")
        try:
            question = steps.send(answer)
        except StopIteration as done:
            self._steps = None
            self._out.to_client.append(done.value)
            return
        except (NotRecorded, ProtocolViolation):
            raise
        except TaskgateError as error:
            self._steps = None
            code = StatusCode.PERMISSION_DENIED if isinstance(error, Denied) else StatusCode.FAILURE
            self._out.to_client.append(status(self._step_id, code, error.message))
            self._tell(error)
            return
        if isinstance(question, AskHold):
            self._out.hold = question
            return
        self._awaits_host = True
        self._out.to_host.append(
            (len(question) + 4).to_bytes(4, "big") + question[:1] + self._fresh() + question[1:]
        )

    def _tell(self, error: TaskgateError) -> None:
        """Clients show none of a status but its code, and call much "not found". They ask for the
        same again and again: each thing is said once."""
        if error.message not in self._told and len(self._told) < MAX_SFTP_PENDING:
            self._told.add(error.message)
            self._out.told.append(error)

    def _fresh(self) -> bytes:
        """An id of the gate's own, of no request of the client's that is under way."""
        self._own_id = _FIRST_OWN_ID
        while self._own_id in self._passed:
            self._own_id += 1
        return number(self._own_id)

    # What `sftp_paths` asks of it.

    @property
    def step_id(self) -> bytes:
        return number(self._step_id)

    @property
    def now(self) -> float:
        return self._now

    def admit(
        self, actions: list[Action], *, reads: bool = False
    ) -> Generator[Question, Any, Admission]:
        """Judges and records what is to be done; `reads`: a file's content will be answered.
        Raises: Denied and whatever a hold ends with."""
        request = file_request(actions, self._resource)
        decision = self._gate.judge(request.actions)
        if reads and decision.outcome is not Outcome.DENY:
            # A file comes in pieces of the client's choice, so nothing is masked in it.
            decision = refused_where_masked(
                decision,
                "files are not masked",
                "use a command such as cat; or the task's author lets files pass",
            )
        admission = self._gate.admit(request, decision)
        error = admission.error
        if admission.outcome is Outcome.HOLD:
            error = yield AskHold(admission.number, request, decision)
            error = error or self._gate.go_on(admission.number)
        if error is not None:
            raise error
        return admission

    def kept(self, admission: Admission) -> KeptFile | None:
        """What records the contents of a file about to be opened, where the task has them recorded.
        Raises: OverLimit where no room is left for them."""
        if not admission.decision.keep_files:
            return None
        try:
            self._room.ensure()
        except OverLimit as error:
            facts = {"request": admission.number, "reason": error.message}
            self._gate.note("limit.reached", facts)
            self.finished(admission, self._now, StatusCode.FAILURE)
            raise
        return KeptFile(self._gate, admission.number, self._room)

    def keep(self, handle: bytes, file: OpenFile) -> None:
        if len(self._files) >= MAX_SFTP_HANDLES:
            raise ProtocolViolation(f"more than {MAX_SFTP_HANDLES} open files")
        if handle in self._files:
            raise ProtocolViolation("the host gave a handle out twice")
        self._files[handle] = file

    def finished(self, admission: Admission, began: float, code: int | None) -> None:
        """Records how a request ended; `code` is the host's status, None for an answer."""
        facts: dict[str, Any] = {"duration_s": round(self._now - began, 6)}
        if code:
            facts["status"] = code
        self._gate.finished(admission.number, facts)

    def _finished(self, number_: int, began: float, file: OpenFile, why: str = "") -> None:
        facts: dict[str, Any] = {"duration_s": round(self._now - began, 6)}
        facts |= file.read.facts("read") | file.written.facts("written")
        if why:
            facts["reason"] = why
        self._gate.finished(number_, facts)
