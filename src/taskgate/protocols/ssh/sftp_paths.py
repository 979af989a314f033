"""SFTP's requests about paths, step by step: the path asked of the host, judged, done.

Each is a generator: it yields packets for the host (without an id) and gets its answers, or yields
a hold and gets its end; it returns the answer to the client.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskgate.model.action import Action
from taskgate.model.errors import Denied, OverLimit, ProtocolViolation
from taskgate.protocols.gate import Admission
from taskgate.protocols.ssh.files import (
    OpenFile,
    changed,
    file_action,
    known_path,
    opened,
    split_last,
)
from taskgate.protocols.ssh.sftp_packets import (
    Attributes,
    Fields,
    Kind,
    OpenFlag,
    StatusCode,
    framed,
    number,
    reframed,
    text,
)

if TYPE_CHECKING:
    from taskgate.protocols.ssh.sftp import Question, SftpExchange, Steps


@dataclass(frozen=True, slots=True)
class _Place:
    """A path as the host knows it. `missing` is the host's answer where a folder on the way to it
    is not there: nothing is done then."""

    path: str
    missing: bytes | None = None

    @property
    def raw(self) -> bytes:
        return self.path.encode()


def steps_of(exchange: SftpExchange, kind: int, name: bytes, fields: Fields) -> Steps | None:
    """The steps of one request, `name` the extension's; None for one that is not known.

    Raises: ProtocolViolation.
    """
    match kind:
        case Kind.OPEN:
            path, flags, attributes = fields.text(), fields.number(), fields.attributes()
            steps = _open(exchange, path, flags, attributes)
        case Kind.OPENDIR:
            steps = _open_folder(exchange, fields.text())
        case Kind.STAT:
            steps = _one(exchange, kind, "list", fields.text(), follow=True)
        case Kind.LSTAT:
            path = fields.text()
            # A slash at the end asks for what a link leads to.
            steps = _one(exchange, kind, "list", path, follow=path.endswith(b"/"))
        case Kind.READLINK:
            steps = _one(exchange, kind, "list", fields.text(), follow=False)
        case Kind.REMOVE | Kind.RMDIR:
            steps = _one(exchange, kind, "remove", fields.text(), follow=False)
        case Kind.MKDIR:
            path, attributes = fields.text(), fields.attributes()
            steps = _make_folder(exchange, path, attributes)
        case Kind.SETSTAT:
            steps = _set(exchange, fields.text(), fields.attributes(), b"")
        case Kind.REALPATH:
            steps = _real_path(exchange, fields.text())
        case Kind.RENAME:
            steps = _two(exchange, "rename", b"", fields.text(), fields.text())
        case Kind.SYMLINK:
            # OpenSSH and all who follow it send the target first (PROTOCOL, section 4.1).
            target, link = fields.text(), fields.text()
            steps = _symbolic_link(exchange, target, link)
        case Kind.EXTENDED:
            found = _extended(exchange, name, fields)
            if found is None:
                return None
            steps = found
        case _:
            return None
    fields.end()
    return steps


def _extended(exchange: SftpExchange, name: bytes, fields: Fields) -> Steps | None:
    match name:
        case b"posix-rename@openssh.com":
            return _two(exchange, "rename", name, fields.text(), fields.text())
        case b"hardlink@openssh.com":
            return _two(exchange, "link", name, fields.text(), fields.text())
        case b"lsetstat@openssh.com":
            return _set(exchange, fields.text(), fields.attributes(), name)
        case b"statvfs@openssh.com":
            return _one(exchange, Kind.EXTENDED, "list", fields.text(), follow=True, name=name)
        case b"limits@openssh.com":
            return _limits(exchange)
        case _:
            return None


# Where a path leads.


def _real(path: bytes) -> Generator[Question, Any, bytes | None]:
    """The host's REALPATH of it; None where it says no."""
    answer: bytes = yield bytes((Kind.REALPATH,)) + text(path)
    fields = Fields(answer)
    fields.number()
    if answer[0] == Kind.STATUS:
        return None
    if answer[0] != Kind.NAME or fields.number() != 1:
        raise ProtocolViolation("the host's answer to REALPATH is none")
    return fields.text()


def _place(raw: bytes, *, follow: bool) -> Generator[Question, Any, _Place]:
    """Where a path leads; without `follow`, where its own name stands."""
    last = b""
    if follow:
        asked = raw or b"."
    else:
        asked, last = split_last(raw)
    found = yield from _real(asked)
    if found is None:
        # Judged as it is written, so that "no such file" tells nobody what a rule keeps from them.
        where = known_path(raw)
        return _Place(where, number(StatusCode.NO_SUCH_FILE))
    if last:
        found = found.rstrip(b"/") + b"/" + last
    return _Place(known_path(found))


# What is done there.


def _done(
    exchange: SftpExchange, admission: Admission, packet: bytes, *places: _Place
) -> Generator[Question, Any, bytes]:
    """Does what was admitted; the answer for the client."""
    began = exchange.now
    if any(place.missing for place in places):
        exchange.finished(admission, began, StatusCode.NO_SUCH_FILE)
        return framed(
            Kind.STATUS,
            exchange.step_id,
            number(StatusCode.NO_SUCH_FILE),
            text(b"No such file"),
            text(b"en"),
        )
    answer: bytes = yield packet
    exchange.finished(admission, began, code_of(answer))
    return _for_client(exchange, answer)


def code_of(answer: bytes) -> int | None:
    """The status that an answer is; None for another answer."""
    if answer[0] != Kind.STATUS:
        return None
    fields = Fields(answer)
    fields.number()
    return fields.number()


def _for_client(exchange: SftpExchange, answer: bytes) -> bytes:
    return reframed(answer[:1] + exchange.step_id + answer[5:])


def _one(
    exchange: SftpExchange, kind: int, verb: str, raw: bytes, *, follow: bool, name: bytes = b""
) -> Steps:
    place = yield from _place(raw, follow=follow)
    admission = yield from exchange.admit([file_action(verb, place.path)])
    head = bytes((kind,)) + (text(name) if name else b"")
    return (yield from _done(exchange, admission, head + text(place.raw), place))


def _two(exchange: SftpExchange, verb: str, name: bytes, old: bytes, new: bytes) -> Steps:
    first = yield from _place(old, follow=False)
    second = yield from _place(new, follow=False)
    actions = [file_action(verb, first.path), file_action(verb, second.path)]
    admission = yield from exchange.admit(actions)
    head = bytes((Kind.EXTENDED,)) + text(name) if name else bytes((Kind.RENAME,))
    packet = head + text(first.raw) + text(second.raw)
    return (yield from _done(exchange, admission, packet, first, second))


def _symbolic_link(exchange: SftpExchange, target: bytes, link: bytes) -> Steps:
    place = yield from _place(link, follow=False)
    folder = place.raw.rpartition(b"/")[0]
    leads_to = target if target.startswith(b"/") else folder + b"/" + target
    there = yield from _place(leads_to, follow=True)
    actions = [file_action("link", there.path), file_action("link", place.path)]
    admission = yield from exchange.admit(actions)
    # A link may stand before what it leads to; as it was judged, without detours.
    packet = bytes((Kind.SYMLINK,)) + text(there.raw) + text(place.raw)
    return (yield from _done(exchange, admission, packet, place))


def _make_folder(exchange: SftpExchange, raw: bytes, attributes: Attributes) -> Steps:
    place = yield from _place(raw, follow=False)
    actions = opened(place.path, OpenFlag.CREATE, attributes)
    admission = yield from exchange.admit(actions)
    packet = bytes((Kind.MKDIR,)) + text(place.raw) + attributes.raw
    return (yield from _done(exchange, admission, packet, place))


def _set(exchange: SftpExchange, raw: bytes, attributes: Attributes, name: bytes) -> Steps:
    place = yield from _place(raw, follow=not name)
    admission = yield from exchange.admit(changed(place.path, attributes))
    head = bytes((Kind.EXTENDED,)) + text(name) if name else bytes((Kind.SETSTAT,))
    return (yield from _done(exchange, admission, head + text(place.raw) + attributes.raw, place))


def set_on_handle(
    exchange: SftpExchange, file: OpenFile, handle: bytes, attributes: Attributes
) -> Steps:
    """FSETSTAT, by the path that the handle was opened for."""
    actions: list[Action] = changed(file.path, attributes)
    admission = yield from exchange.admit(actions)
    if file.kept is not None and attributes.size is not None:
        try:
            file.kept.resized(attributes.size)
        except OverLimit:
            exchange.finished(admission, exchange.now, StatusCode.FAILURE)
            raise
    packet = bytes((Kind.FSETSTAT,)) + text(handle) + attributes.raw
    return (yield from _done(exchange, admission, packet))


def _real_path(exchange: SftpExchange, raw: bytes) -> Steps:
    """Tells where a path leads; every client asks it of `.` first."""
    if raw in (b"", b"."):
        return _for_client(exchange, (yield bytes((Kind.REALPATH,)) + text(b".")))
    place = yield from _place(raw, follow=True)
    admission = yield from exchange.admit([file_action("list", place.path)])
    packet = bytes((Kind.REALPATH,)) + text(place.raw)
    return (yield from _done(exchange, admission, packet, place))


def _limits(exchange: SftpExchange) -> Steps:
    answer: bytes = yield bytes((Kind.EXTENDED,)) + text(b"limits@openssh.com")
    return _for_client(exchange, answer)


# Opening.


def _open(exchange: SftpExchange, raw: bytes, flags: int, attributes: Attributes) -> Steps:
    place = yield from _place(raw, follow=True)
    actions = opened(place.path, flags, attributes)
    reads = any(action.verb == "read" for action in actions)
    admission = yield from exchange.admit(actions, reads=reads)
    packet = bytes((Kind.OPEN,)) + text(place.raw) + number(flags) + attributes.raw
    return (yield from _opened(exchange, admission, packet, place, flags))


def _open_folder(exchange: SftpExchange, raw: bytes) -> Steps:
    place = yield from _place(raw, follow=True)
    admission = yield from exchange.admit([file_action("list", place.path)])
    packet = bytes((Kind.OPENDIR,)) + text(place.raw)
    return (yield from _opened(exchange, admission, packet, place))


def _opened(
    exchange: SftpExchange,
    admission: Admission,
    packet: bytes,
    place: _Place,
    flags: int | None = None,
) -> Steps:
    """Opens a file, or a folder without `flags`, and makes sure that what was opened is still what
    was judged."""
    if place.missing:
        return (yield from _done(exchange, admission, packet, place))
    kept = exchange.kept(admission) if flags is not None else None
    began = exchange.now
    answer: bytes = yield packet
    if answer[0] != Kind.HANDLE:
        exchange.finished(admission, began, code_of(answer))
        return _for_client(exchange, answer)
    fields = Fields(answer)
    fields.number()
    handle = fields.text()
    again = yield from _real(place.raw)
    if again != place.raw:
        yield bytes((Kind.CLOSE,)) + text(handle)
        exchange.finished(admission, began, StatusCode.PERMISSION_DENIED)
        raise Denied(f"{place.path}: it leads elsewhere by now", rule="resource", hint="try again")
    most = admission.decision.limits.max_bytes
    writable = bool((flags or 0) & (OpenFlag.WRITE | OpenFlag.APPEND))
    if kept is not None:
        kept.opened(place.path, flags or 0)
    exchange.keep(handle, OpenFile(place.path, admission.number, began, most, writable, kept))
    return _for_client(exchange, answer)
