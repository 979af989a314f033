"""The SFTP exchange alone: what a real client or host would not send, and when."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from taskgate.model.action import Action, Request
from taskgate.model.decision import Decision, Outcome, TaskLimits
from taskgate.model.errors import Denied, ProtocolViolation, TaskgateError
from taskgate.model.limits import MAX_SFTP_HANDLES, MAX_SFTP_PACKET_BYTES, MAX_SFTP_PENDING
from taskgate.model.masks import MaskSet
from taskgate.protocols.gate import Admission
from taskgate.protocols.ssh.sftp import SftpExchange
from taskgate.protocols.ssh.sftp_packets import (
    Fields,
    Framer,
    Kind,
    OpenFlag,
    StatusCode,
    framed,
    number,
    status,
    text,
)


class PathGate:
    """Permits what lies below /ok; holds what lies below /ask."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self.admitted: list[str] = []
        self.ended: list[dict[str, Any]] = []
        self._max_bytes = max_bytes

    def judge(self, actions: Sequence[Action]) -> Decision:
        outcome = Outcome.PERMIT
        for action in actions:
            if action.object.startswith("/ask"):
                outcome = Outcome.HOLD
            elif not action.object.startswith("/ok"):
                outcome = Outcome.DENY
                break
        return Decision(outcome, "r", "f:1", "no", "v", limits=TaskLimits(None, self._max_bytes))

    def admit(self, request: Request, decision: Decision) -> Admission:
        self.admitted.append(f"{decision.outcome.value} {request.text}")
        error = Denied("no") if decision.outcome is Outcome.DENY else None
        return Admission(len(self.admitted), decision.outcome, decision, error)

    def go_on(self, number: int) -> TaskgateError | None:
        return None

    def finished(self, number: int, facts: dict[str, Any]) -> None:
        self.ended.append(facts)

    def policy_version(self) -> str:
        return "v"

    def masks(self) -> MaskSet:
        return MaskSet()

    def refuse(self, text: str, error: TaskgateError) -> None:
        raise AssertionError

    def prepared(self, text: str, decision: Decision) -> TaskgateError | None:
        raise AssertionError

    def note(self, kind: str, facts: dict[str, Any]) -> None:
        self.admitted.append(kind)


class Talk:
    """An exchange, and what either side was sent."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self.gate = PathGate(max_bytes)
        self.exchange = SftpExchange(self.gate, "web")
        self.client(framed(Kind.INIT, number(3)))
        assert self.host_heard() == [framed(Kind.INIT, number(3))[4:]]
        self.host(framed(Kind.VERSION, number(3), text(b"copy-data"), text(b"1"),
                         text(b"fsync@openssh.com"), text(b"1")))  # fmt: skip

    def client(self, data: bytes) -> None:
        self.exchange.client_data(data, 1.0)

    def host(self, data: bytes) -> None:
        self.exchange.host_data(data, 2.0)

    def take(self) -> tuple[list[bytes], list[bytes]]:
        out = self.exchange.take()
        return (
            list(Framer().feed(b"".join(out.to_client))),
            list(Framer().feed(b"".join(out.to_host))),
        )

    def host_heard(self) -> list[bytes]:
        return self.take()[1]

    def client_heard(self) -> list[bytes]:
        return self.take()[0]

    def asked(self) -> bytes:
        """The one packet that the host was sent; its id is kept for the answer."""
        (packet,) = self.host_heard()
        self.id = packet[1:5]
        return packet

    def leads_to(self, path: bytes) -> None:
        """The host answers a REALPATH."""
        packet = self.asked()
        assert packet[0] == Kind.REALPATH
        self.host(framed(Kind.NAME, self.id, number(1), text(path), text(b""), number(0)))

    def open(self, path: bytes, flags: int = OpenFlag.READ, handle: bytes = b"h1") -> None:
        self.client(framed(Kind.OPEN, number(1), text(path), number(flags), number(0)))
        self.leads_to(path)
        assert self.asked()[0] == Kind.OPEN
        self.host(framed(Kind.HANDLE, self.id, text(handle)))
        self.leads_to(path)
        assert self.client_heard() == [framed(Kind.HANDLE, number(1), text(handle))[4:]]


def code(packet: bytes) -> int:
    assert packet[0] == Kind.STATUS
    fields = Fields(packet)
    fields.number()
    return fields.number()


def test_extensions_that_are_not_judged_are_not_offered() -> None:
    talk = Talk()
    (packet,) = talk.client_heard()
    assert b"copy-data" not in packet
    assert b"fsync@openssh.com" in packet


PATH_PACKETS = {
    "open": framed(Kind.OPEN, number(1), text(b"/x"), number(1), number(0)),
    "open folder": framed(Kind.OPENDIR, number(1), text(b"/x")),
    "stat": framed(Kind.STAT, number(1), text(b"/x")),
    "lstat": framed(Kind.LSTAT, number(1), text(b"/x")),
    "readlink": framed(Kind.READLINK, number(1), text(b"/x")),
    "remove": framed(Kind.REMOVE, number(1), text(b"/x")),
    "rmdir": framed(Kind.RMDIR, number(1), text(b"/x")),
    "mkdir": framed(Kind.MKDIR, number(1), text(b"/x"), number(0)),
    "setstat": framed(Kind.SETSTAT, number(1), text(b"/x"), number(4), number(0o777)),
    "realpath": framed(Kind.REALPATH, number(1), text(b"/x")),
    "rename": framed(Kind.RENAME, number(1), text(b"/x"), text(b"/ok/y")),
    "rename to": framed(Kind.RENAME, number(1), text(b"/ok/y"), text(b"/x")),
    "symlink": framed(Kind.SYMLINK, number(1), text(b"/x"), text(b"/ok/y")),
    "symlink at": framed(Kind.SYMLINK, number(1), text(b"/ok/y"), text(b"/x")),
    "posix-rename": framed(Kind.EXTENDED, number(1), text(b"posix-rename@openssh.com"),
                           text(b"/x"), text(b"/ok/y")),
    "hardlink": framed(Kind.EXTENDED, number(1), text(b"hardlink@openssh.com"), text(b"/x"),
                       text(b"/ok/y")),
    "lsetstat": framed(Kind.EXTENDED, number(1), text(b"lsetstat@openssh.com"), text(b"/x"),
                       number(4), number(0o777)),
    "statvfs": framed(Kind.EXTENDED, number(1), text(b"statvfs@openssh.com"), text(b"/x")),
}  # fmt: skip


@pytest.mark.parametrize("packet", PATH_PACKETS.values(), ids=PATH_PACKETS.keys())
@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_a_denied_path_reaches_the_host_as_a_question_alone(packet: bytes, step: int) -> None:
    talk = Talk()
    talk.take()
    for at in range(0, len(packet), step):
        talk.client(packet[at : at + step])
    while True:
        to_client, to_host = talk.take()
        if to_client:
            break
        (asked,) = to_host
        assert asked[0] == Kind.REALPATH
        fields = Fields(asked)
        id_ = number(fields.number())
        talk.host(framed(Kind.NAME, id_, number(1), text(fields.text()), text(b""), number(0)))
    assert not to_host
    assert code(to_client[0]) == StatusCode.PERMISSION_DENIED
    assert talk.gate.admitted[-1].startswith("deny ")


def test_a_path_that_leads_elsewhere_is_judged_there_and_opened_there() -> None:
    talk = Talk()
    talk.take()
    talk.client(framed(Kind.OPEN, number(7), text(b"/ok/link"), number(1), number(0)))
    talk.leads_to(b"/etc/passwd")
    (packet,) = talk.client_heard()
    assert code(packet) == StatusCode.PERMISSION_DENIED
    talk.client(framed(Kind.OPEN, number(8), text(b"link"), number(1), number(0)))
    talk.leads_to(b"/ok/real")
    assert text(b"/ok/real") in talk.asked()


def test_a_path_that_moves_while_it_is_opened_is_closed_again() -> None:
    talk = Talk()
    talk.take()
    talk.client(framed(Kind.OPEN, number(1), text(b"/ok/a"), number(1), number(0)))
    talk.leads_to(b"/ok/a")
    talk.asked()
    talk.host(framed(Kind.HANDLE, talk.id, text(b"h")))
    talk.leads_to(b"/etc/shadow")
    assert talk.asked() == framed(Kind.CLOSE, talk.id, text(b"h"))[4:]
    talk.host(status(int.from_bytes(talk.id, "big"), StatusCode.OK, ""))
    (packet,) = talk.client_heard()
    assert code(packet) == StatusCode.PERMISSION_DENIED
    talk.client(framed(Kind.READ, number(2), text(b"h"), number(0), number(0), number(9)))
    assert talk.host_heard() == []


def test_nothing_is_told_of_what_is_not_there_outside() -> None:
    talk = Talk()
    talk.take()
    for path, wanted in ((b"/no/x", StatusCode.PERMISSION_DENIED), (b"/ok/x", 2)):
        talk.client(framed(Kind.STAT, number(1), text(path)))
        talk.asked()
        talk.host(status(int.from_bytes(talk.id, "big"), StatusCode.NO_SUCH_FILE, ""))
        to_client, to_host = talk.take()
        assert code(to_client[0]) == wanted
        assert to_host == []


def test_a_handle_that_was_never_given_reaches_nothing() -> None:
    talk = Talk()
    talk.take()
    for kind in (Kind.READ, Kind.WRITE, Kind.CLOSE, Kind.FSTAT, Kind.FSETSTAT, Kind.READDIR):
        talk.client(framed(kind, number(1), text(b"guess"), number(0), number(0), number(0)))
        to_client, to_host = talk.take()
        assert code(to_client[0]) == StatusCode.FAILURE
        assert to_host == []


def test_what_flows_is_counted_and_hashed() -> None:
    talk = Talk()
    talk.take()
    talk.open(b"/ok/f", OpenFlag.READ | OpenFlag.WRITE)
    for id_, offset in ((2, 0), (3, 3)):
        talk.client(
            framed(Kind.READ, number(id_), text(b"h1"), number(0), number(offset), number(3))
        )
    assert len(talk.host_heard()) == 2
    talk.host(framed(Kind.DATA, number(2), text(b"abc")) + framed(Kind.DATA, number(3), text(b"d")))
    talk.client(framed(Kind.WRITE, number(4), text(b"h1"), number(0), number(5), text(b"xyz")))
    talk.host(status(4, StatusCode.OK, ""))
    talk.client(framed(Kind.CLOSE, number(5), text(b"h1")))
    talk.host(status(5, StatusCode.OK, ""))
    facts = talk.gate.ended[-1]
    assert (facts["read"], facts["written"], facts["written_from"]) == (4, 3, 5)
    assert facts["read_sha256"].startswith("88d4266fd4e6338d13b845fcf289579d")


def test_over_the_tasks_limit_nothing_is_read() -> None:
    talk = Talk(max_bytes=5)
    talk.take()
    talk.open(b"/ok/f")
    for id_ in (2, 3):
        talk.client(framed(Kind.READ, number(id_), text(b"h1"), number(0), number(0), number(4)))
    talk.host(framed(Kind.DATA, number(2), text(b"abcd")))
    talk.host(framed(Kind.DATA, number(3), text(b"efgh")))
    first, second = talk.client_heard()
    assert first[0] == Kind.DATA
    assert code(second) == StatusCode.FAILURE
    assert b"efgh" not in second


def test_a_hold_keeps_what_comes_behind_it_waiting() -> None:
    talk = Talk()
    talk.take()
    talk.client(framed(Kind.REMOVE, number(1), text(b"/ask/x")))
    talk.client(framed(Kind.REMOVE, number(2), text(b"/ok/x")))
    talk.leads_to(b"/ask")
    out = talk.exchange.take()
    assert out.hold is not None
    assert not out.to_host
    talk.exchange.hold_ended(None, 3.0)
    assert talk.asked()[0] == Kind.REMOVE
    talk.host(status(int.from_bytes(talk.id, "big"), StatusCode.OK, ""))
    talk.leads_to(b"/ok")
    assert text(b"/ok/x") in talk.asked()


VIOLATIONS: dict[str, Callable[[Talk], None]] = {
    "nothing before INIT": lambda t: SftpExchange(t.gate, "w").client_data(
        framed(Kind.STAT, number(1), text(b"/ok")), 0.0
    ),
    "a packet cut short": lambda t: t.client(framed(Kind.STAT, number(1), number(9))),
    "a packet too long": lambda t: t.client(framed(Kind.STAT, number(1), text(b"/ok"), b"x")),
    "an empty packet": lambda t: t.client(bytes(4)),
    "an oversized packet": lambda t: t.client((MAX_SFTP_PACKET_BYTES + 1).to_bytes(4, "big")),
    "an answer to nothing": lambda t: t.host(status(99, StatusCode.OK, "")),
    "attributes of an unknown kind": lambda t: t.client(
        framed(Kind.SETSTAT, number(1), text(b"/ok"), number(0x80000000), number(0))
    ),
}


@pytest.mark.cap("MAX_SFTP_PACKET_BYTES")
@pytest.mark.parametrize("name", list(VIOLATIONS))
def test_violations_end_the_channel(name: str) -> None:
    talk = Talk()
    with pytest.raises(ProtocolViolation):
        VIOLATIONS[name](talk)
    assert not [one for one in talk.host_heard() if one[0] != Kind.INIT]


def test_what_the_gate_does_not_know_is_not_passed_on() -> None:
    talk = Talk()
    talk.take()
    for packet in (
        framed(Kind.EXTENDED, number(1), text(b"copy-data"), b"anything"),
        framed(Kind.EXTENDED, number(2), text(b"expand-path@openssh.com"), text(b"~root")),
        framed(Kind.STATUS, number(3)),
        bytes((0, 0, 0, 5, 99, 0, 0, 0, 4)),
    ):
        talk.client(packet)
        to_client, to_host = talk.take()
        assert code(to_client[0]) == StatusCode.UNSUPPORTED
        assert to_host == []


@pytest.mark.cap("MAX_SFTP_PENDING")
def test_a_client_that_does_not_wait_is_not_read() -> None:
    talk = Talk()
    talk.take()
    talk.open(b"/ok/f")
    read = [
        framed(Kind.READ, number(id_), text(b"h1"), number(0), number(0), number(1))
        for id_ in range(2, MAX_SFTP_PENDING + 3)
    ]
    talk.client(b"".join(read[:-2]))
    assert not talk.exchange.full
    talk.client(read[-2])
    assert talk.exchange.full
    talk.client(read[-1])
    assert len(talk.host_heard()) == MAX_SFTP_PENDING
    with pytest.raises(ProtocolViolation, match="too many"):
        talk.client(read[-1] * (2 * MAX_SFTP_PENDING + 1))


@pytest.mark.cap("MAX_SFTP_HANDLES")
def test_open_files_of_one_channel() -> None:
    talk = Talk()
    talk.take()
    for count in range(MAX_SFTP_HANDLES):
        talk.open(b"/ok/f", handle=b"h%d" % count)
    with pytest.raises(ProtocolViolation, match="open files"):
        talk.open(b"/ok/f", handle=b"more")


def _cut(data: bytes, at: int) -> Iterator[bytes]:
    yield data[:at]
    yield data[at:]


def test_a_conversation_cut_at_every_byte_is_the_same() -> None:
    said = framed(Kind.STAT, number(1), text(b"/ok/a")) + framed(
        Kind.REMOVE, number(2), text(b"/no/b")
    )
    for at in range(len(said)):
        talk = Talk()
        talk.take()
        for piece in _cut(said, at):
            talk.client(piece)
        talk.leads_to(b"/ok/a")
        talk.asked()
        for piece in _cut(framed(Kind.ATTRS, talk.id, number(0)), at % 10):
            talk.host(piece)
        to_client, to_host = talk.take()
        assert [p[0] for p in to_client] == [Kind.ATTRS]
        assert [p[0] for p in to_host] == [Kind.REALPATH]


@pytest.mark.parametrize("packet", PATH_PACKETS.values(), ids=PATH_PACKETS.keys())
def test_what_goes_to_the_host_is_the_path_that_was_judged(packet: bytes) -> None:
    talk = Talk()
    talk.take()
    # Every path stands in a folder that is a link to /ok/dir.
    body = packet[4:].replace(text(b"/x"), text(b"/in/x")).replace(text(b"/ok/y"), text(b"/in/y"))
    talk.client(len(body).to_bytes(4, "big") + body)
    while True:
        asked = talk.asked()
        fields = Fields(asked)
        fields.number()
        if asked[0] != Kind.REALPATH or fields.text() == b"/ok/dir":
            break
        answer = framed(Kind.NAME, talk.id, number(1), text(b"/ok/dir"), text(b""), number(0))
        talk.host(answer)
    assert b"/in/" not in asked
    assert b"/ok/dir" in asked
