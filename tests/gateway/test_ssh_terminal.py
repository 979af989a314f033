"""What of a channel is recorded, and that it is recorded before it passes."""

import asyncio
from typing import Any, cast

import pytest

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.ssh_terminal import RecordedStream, TerminalRecord, terminal_room
from taskgate.model.errors import NotRecorded, OverLimit, TaskgateError
from taskgate.model.limits import MAX_TERMINAL_EVENT_BYTES
from taskgate.protocols.ssh.conversation import Stream, Terminal
from taskgate.protocols.ssh.room import Room


class Scene:
    """A gate and the sides of a stream: `happened` has what was recorded and what passed."""

    def __init__(self) -> None:
        self.happened: list[tuple[Any, ...]] = []
        self.failed: list[TaskgateError] = []
        self.broken = False
        self.recording = self

    def note(self, kind: str, facts: dict[str, Any]) -> None:
        if self.broken:
            raise NotRecorded("the disk is full")
        told = facts.get("text", facts.get("base64", facts.get("hidden", "")))
        self.happened.append((str(kind), told))

    def flush(self) -> None:
        """Every note is written at once here."""

    def to_client(self, data: bytes, stderr: bool = False) -> None:
        self.happened.append(("client", data, stderr))

    def to_host(self, data: bytes) -> None:
        self.happened.append(("host", data))

    def end_host_input(self) -> None:
        self.happened.append(("end",))

    def read_client(self, wanted: bool) -> None:
        self.happened.append(("read", wanted))

    def fail(self, error: TaskgateError) -> None:
        self.failed.append(error)


def begun(
    scene: Scene, room: Room | None = None, within: Stream | None = None,
    max_bytes: int | None = None,
) -> RecordedStream:  # fmt: skip
    record = TerminalRecord(cast(TaskGate, scene), 1, room or terminal_room())
    record.started(Terminal("xterm", 80, 24), "open")
    stream = RecordedStream(record, within, max_bytes)
    stream.attach(scene)
    scene.happened.clear()
    return stream


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_turns_output_is_one_event_before_it_passes() -> None:
    scene = Scene()
    stream = begun(scene)
    stream.from_host(b"a", stderr=False)
    stream.from_host(b"b", stderr=False)
    stream.from_host(b"c", stderr=True)
    assert ("client", b"ab", False) in scene.happened
    await turn()
    assert scene.happened == [
        ("terminal.output", "ab"), ("client", b"ab", False),
        ("terminal.output", "c"), ("client", b"c", True),
    ]  # fmt: skip


async def test_keys_come_after_what_was_shown_before_them() -> None:
    scene = Scene()
    stream = begun(scene)
    stream.from_host(b"$ ", stderr=False)
    stream.from_client(b"l")
    stream.from_host(b"l", stderr=False)
    stream.from_client(b"\r")
    assert scene.happened == [
        ("terminal.output", "$ "), ("client", b"$ ", False), ("host", b"l"),
        ("terminal.output", "l"), ("client", b"l", False),
        ("terminal.input", "l"), ("host", b"\r"),
    ]  # fmt: skip


@pytest.mark.parametrize("direction", ["out", "in", "size"])
async def test_what_cannot_be_recorded_does_not_pass(direction: str) -> None:
    scene = Scene()
    stream = begun(scene)
    stream.from_client(b"x")
    scene.happened.clear()
    scene.broken = True
    if direction == "out":
        stream.from_host(b"secret", stderr=False)
        await turn()
    elif direction == "in":
        stream.from_host(b"x", stderr=False)
        stream.from_client(b"\r")
    else:
        stream.resized(1, 1)
    assert scene.happened == []
    assert isinstance(scene.failed[0], NotRecorded)
    # Nor anything after it.
    scene.broken = False
    stream.from_host(b"more", stderr=False)
    stream.from_client(b"more")
    stream.host_ended()
    await turn()
    assert scene.happened == []


async def test_past_the_room_nothing_passes() -> None:
    scene = Scene()
    stream = begun(scene, terminal_room(500))
    stream.from_host(b"x" * 100, stderr=False)
    await turn()
    stream.from_host(b"y" * 100, stderr=False)
    await turn()
    assert scene.happened == [
        ("terminal.output", "x" * 100), ("client", b"x" * 100, False)
    ]  # fmt: skip
    assert isinstance(scene.failed[0], OverLimit)


async def test_small_writes_use_up_the_room_as_well() -> None:
    scene = Scene()
    stream = begun(scene, terminal_room(10_000))
    for _ in range(1_000):
        stream.from_host(b"x", stderr=False)
        await turn()
    assert len(scene.happened) < 150
    assert isinstance(scene.failed[0], OverLimit)


async def test_what_goes_beyond_the_tasks_bytes_is_not_recorded() -> None:
    scene = Scene()
    stream = begun(scene, max_bytes=10)
    stream.from_host(b"12345678", stderr=False)
    await turn()
    stream.from_host(b"9012", stderr=False)
    await turn()
    recorded = [told for kind, told, *_ in scene.happened if kind == "terminal.output"]
    assert recorded == ["12345678"]


@pytest.mark.cap("MAX_TERMINAL_EVENT_BYTES")
async def test_an_event_is_no_longer_than_its_cap() -> None:
    scene = Scene()
    stream = begun(scene)
    stream.from_host(b"x" * (3 * MAX_TERMINAL_EVENT_BYTES), stderr=False)
    await turn()
    recorded = [told for kind, told, *_ in scene.happened if kind == "terminal.output"]
    assert [len(told) for told in recorded] == [MAX_TERMINAL_EVENT_BYTES] * 3


async def test_what_is_no_utf_8_is_kept_byte_for_byte() -> None:
    scene = Scene()
    stream = begun(scene)
    stream.from_host(b"caf\xe9", stderr=False)
    await turn()
    assert scene.happened == [("terminal.output", "Y2Fm6Q=="), ("client", b"caf\xe9", False)]


async def test_once_closed_nothing_is_recorded_or_shown() -> None:
    scene = Scene()
    stream = begun(scene)
    stream.from_client(b"pass")
    stream.from_host(b"late", stderr=False)
    scene.happened.clear()
    stream.close()
    await turn()
    stream.from_host(b"later", stderr=False)
    await turn()
    assert scene.happened == [("terminal.input", 4)]
