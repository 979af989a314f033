"""Contents of files as the exchange has them recorded: all that passes, before it does, and nothing
past the cap; whatever a client sends and however a host answers."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from taskgate.model.action import Action
from taskgate.model.decision import Decision
from taskgate.model.errors import NotRecorded
from taskgate.model.event import EventKind
from taskgate.model.limits import MAX_FILE_EVENT_BYTES, MAX_RECORDED_FILE_BYTES, MIB
from taskgate.protocols.ssh.kept_files import file_room
from taskgate.protocols.ssh.room import Room
from taskgate.protocols.ssh.sftp import SftpExchange
from taskgate.protocols.ssh.sftp_packets import Kind, OpenFlag, StatusCode, framed, number, text
from taskgate.protocols.ssh.sftp_packets import status as status_packet
from taskgate.recording.content import content_of
from taskgate.recording.format import Entry
from taskgate.recording.kept_files import Put, Rebuilding
from tests.protocols.ssh.test_sftp import PathGate, Talk, code

READ, WRITE = OpenFlag.READ, OpenFlag.WRITE | OpenFlag.CREATE | OpenFlag.TRUNCATE


class KeepingGate(PathGate):
    """Its task keeps contents. `broken`: nothing can be recorded any more."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.broken = False
        self.keeps: Callable[[dict[str, Any]], bool] = lambda _facts: True

    def judge(self, actions: Sequence[Action]) -> Decision:
        return replace(super().judge(actions), keep_files=True)

    def note(self, kind: str, facts: dict[str, Any]) -> None:
        if self.broken:
            raise NotRecorded("the disk is full")
        if self.keeps(facts):
            self.events.append((kind, facts))


class KeptTalk(Talk):
    gate: KeepingGate

    def __init__(self, room: Room | None = None) -> None:
        self.gate = KeepingGate()
        self.exchange = SftpExchange(self.gate, "web", room)
        self.client(framed(Kind.INIT, number(3)))
        self.host(framed(Kind.VERSION, number(3)))
        self.take()

    def write(self, id_: int, offset: int, data: bytes) -> None:
        body = text(b"h1") + offset.to_bytes(8, "big") + text(data)
        self.client(framed(Kind.WRITE, number(id_), body))

    def read(self, id_: int, offset: int, size: int) -> None:
        body = text(b"h1") + offset.to_bytes(8, "big") + number(size)
        self.client(framed(Kind.READ, number(id_), body))

    def of(self, kind: EventKind) -> list[dict[str, Any]]:
        return [facts for one, facts in self.gate.events if one == kind]


def test_what_is_written_is_noted_before_it_passes() -> None:
    talk = KeptTalk()
    talk.open(b"/ok/f", WRITE)
    assert talk.of(EventKind.FILE_OPENED) == [
        {"request": 1, "path": "/ok/f", "ways": ["written"], "empty": True}
    ]
    talk.write(2, 5, b"\xffabc")
    assert talk.of(EventKind.FILE_CONTENT) == [
        {"request": 1, "way": "written", "offset": 5, "bytes": 4,
         "base64": base64.b64encode(b"\xffabc").decode()}
    ]  # fmt: skip
    assert len(talk.host_heard()) == 1
    talk.gate.broken = True
    with pytest.raises(NotRecorded):
        talk.write(3, 9, b"more")
    assert talk.host_heard() == []


def test_what_is_read_is_noted_before_it_passes() -> None:
    talk = KeptTalk()
    talk.open(b"/ok/f")
    talk.read(2, 7, 100)
    talk.host(framed(Kind.DATA, number(2), text(b"short")))
    assert talk.of(EventKind.FILE_CONTENT) == [
        {"request": 1, "way": "read", "offset": 7, "bytes": 5, "text": "short"}
    ]
    assert len(talk.client_heard()) == 1
    talk.read(3, 12, 100)
    talk.gate.broken = True
    with pytest.raises(NotRecorded):
        talk.host(framed(Kind.DATA, number(3), text(b"more")))
    assert talk.client_heard() == []


def test_what_is_answered_after_the_closing_is_noted_too() -> None:
    talk = KeptTalk()
    talk.open(b"/ok/f")
    talk.read(2, 0, 100)
    talk.client(framed(Kind.CLOSE, number(3), text(b"h1")))
    talk.host(status_packet(3, StatusCode.OK, ""))
    talk.host(framed(Kind.DATA, number(2), text(b"late")))
    assert [facts["text"] for facts in talk.of(EventKind.FILE_CONTENT)] == ["late"]


@pytest.mark.cap("MAX_FILE_EVENT_BYTES")
def test_a_long_packet_is_several_events() -> None:
    talk = KeptTalk()
    talk.open(b"/ok/f", WRITE)
    data = bytes(range(256)) * 900
    talk.write(2, 3, data)
    pieces = talk.of(EventKind.FILE_CONTENT)
    assert [facts["bytes"] for facts in pieces] == [65_536, 65_536, 65_536, 33_792]
    assert MAX_FILE_EVENT_BYTES == 65_536
    assert b"".join(content_of(facts) for facts in pieces) == data
    assert rebuilt(talk) == b"\0\0\0" + data


@pytest.mark.cap("MAX_RECORDED_FILE_BYTES")
def test_past_the_cap_nothing_passes_and_nothing_is_opened() -> None:
    talk = KeptTalk()
    talk.gate.keeps = lambda facts: "base64" not in facts
    talk.open(b"/ok/f", WRITE)
    passed, data = 0, bytes(64 * 1024)
    for id_ in range(2, MAX_RECORDED_FILE_BYTES * 2 // len(data)):
        talk.write(id_, passed, data)
        if not talk.host_heard():
            break
        passed += len(data)
        talk.host(status_packet(id_, StatusCode.OK, ""))
        talk.client_heard()
    assert MAX_RECORDED_FILE_BYTES // 2 < passed < MAX_RECORDED_FILE_BYTES
    # A smaller piece would fit, and leave a gap before it.
    talk.write(1, passed, b"x")
    to_client, to_host = talk.take()
    assert not to_host
    assert [code(packet) for packet in to_client] == [StatusCode.FAILURE]
    assert len(talk.of(EventKind.LIMIT_REACHED)) == 1
    talk.client(framed(Kind.OPEN, number(3), text(b"/ok/g"), number(WRITE), number(0)))
    talk.leads_to(b"/ok/g")
    to_client, to_host = talk.take()
    assert not to_host
    assert code(to_client[0]) == StatusCode.FAILURE
    assert b"full (268435456 bytes), and nothing may pass unrecorded" in to_client[0]
    assert talk.gate.ended[-1]["status"] == StatusCode.FAILURE
    assert MAX_RECORDED_FILE_BYTES == 256 * MIB


def test_what_is_read_past_the_cap_does_not_reach_the_client() -> None:
    talk = KeptTalk(file_room(1_000))
    talk.open(b"/ok/f")
    talk.read(2, 0, 2_000)
    talk.host(framed(Kind.DATA, number(2), text(b"secret" * 200)))
    (packet,) = talk.client_heard()
    assert b"secret" not in packet
    assert code(packet) == StatusCode.FAILURE
    assert talk.of(EventKind.FILE_CONTENT) == []
    talk.exchange.ended("over")
    assert "read" not in talk.gate.ended[-1]


def test_a_size_set_past_the_cap_is_not_set() -> None:
    talk = KeptTalk(file_room(100))
    talk.open(b"/ok/f", WRITE)
    talk.client(framed(Kind.FSETSTAT, number(2), text(b"h1"), number(1), bytes(8)))
    to_client, to_host = talk.take()
    assert not to_host
    assert code(to_client[0]) == StatusCode.FAILURE


@pytest.mark.parametrize("more", [b"", number(0o600)], ids=["size", "size and mode"])
def test_sizes_are_noted(more: bytes) -> None:
    talk = KeptTalk()
    talk.open(b"/ok/f", WRITE)
    flags = number(1 | (4 if more else 0))
    size = (300).to_bytes(8, "big")
    talk.client(framed(Kind.FSETSTAT, number(2), text(b"h1"), flags, size + more))
    assert talk.of(EventKind.FILE_RESIZED) == [{"request": 1, "size": 300}]


def test_what_the_host_does_not_take_is_noted() -> None:
    talk = KeptTalk()
    talk.open(b"/ok/f", WRITE)
    talk.write(2, 0, b"abc")
    talk.write(3, 3, b"def")
    talk.host(status_packet(2, StatusCode.OK, ""))
    talk.host(status_packet(3, StatusCode.FAILURE, "disk full"))
    assert talk.of(EventKind.FILE_NOT_WRITTEN) == [
        {"request": 1, "offset": 3, "bytes": 3, "status": StatusCode.FAILURE}
    ]


def test_a_file_appended_to_and_read() -> None:
    talk = KeptTalk()
    talk.open(b"/ok/f", OpenFlag.READ | OpenFlag.APPEND)
    assert talk.of(EventKind.FILE_OPENED) == [
        {"request": 1, "path": "/ok/f", "ways": ["read", "written"], "append": True}
    ]


def test_folders_have_no_contents() -> None:
    talk = KeptTalk()
    talk.client(framed(Kind.OPENDIR, number(1), text(b"/ok/d")))
    talk.leads_to(b"/ok/d")
    talk.asked()
    talk.host(framed(Kind.HANDLE, talk.id, text(b"h1")))
    talk.leads_to(b"/ok/d")
    assert talk.gate.events == []


def rebuilt(talk: KeptTalk) -> bytes:
    rebuilding, file = Rebuilding("written"), bytearray()
    for kind, facts in talk.gate.events:
        done = rebuilding.feed(Entry(1, 0.0, kind, facts, b"", b""))
        assert done is None or isinstance(done, Put)
        if done is not None:
            file.extend(bytes(max(0, done.offset - len(file))))
            file[done.offset : done.offset + len(done.data)] = done.data
    return bytes(file)
