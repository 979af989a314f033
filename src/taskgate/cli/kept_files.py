"""Files of a session, listed and put together again from its recording."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskgate.cli.access import Json
from taskgate.cli.client import Client, path, signed_in
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import print_json, print_table, say, tell
from taskgate.cli.private import new_private

if TYPE_CHECKING:
    from taskgate.api.shapes import EventShown, KeptFileShown
    from taskgate.recording.kept_files import Rebuilding

_MAX_TOLD = 20


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(files)


def files(
    session: Annotated[str, typer.Argument(help="The session's id.")],
    get: Annotated[
        str, typer.Option(metavar="NUMBER|PATH", help="Put that one together, and write it.")
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where to; file-NUMBER here if left out. Never over one."
        ),
    ] = None,
    read: Annotated[bool, typer.Option("--read", help="What was read of it.")] = False,
    written: Annotated[bool, typer.Option("--written", help="What was written to it.")] = False,
    as_json: Json = False,
) -> None:
    """List the files that a session read and wrote by SFTP or scp, or get one out of its recording,
    where the task has them kept. Needs the replay right; the reading is recorded."""
    from taskgate.api.shapes import KeptFileShown

    client = signed_in()
    found = client.get_list(path("recordings", session) + "/files", KeptFileShown)
    if get:
        ways = {way for way, asked in (("read", read), ("written", written)) if asked}
        one = _chosen([file for file in found if not ways or file.way in ways], get)
        _get(client, session, one, output or Path(f"file-{one.request}"))
    elif as_json:
        print_json(found)
    else:
        print_table(
            ("NUMBER", "WAY", "BYTES", "PATH", "SHA-256"), map(_row, found), "no file was kept"
        )


def _row(one: KeptFileShown) -> tuple[str, ...]:
    hash_ = one.sha256 or ("out of order" if one.over and one.bytes else "")
    part = f" (from byte {one.first})" if one.first else ""
    still_open = "" if one.over else " (still open)"
    return str(one.request), one.way, str(one.bytes), one.path, hash_ + part + still_open


def _chosen(found: list[KeptFileShown], wanted: str) -> KeptFileShown:
    """Names in a recording are strangers' text: they are compared, and go nowhere else."""
    matches = [one for one in found if str(one.request) == wanted]
    matches = matches or [one for one in found if one.path == wanted]
    if not matches:
        stop("no such file was kept", Exit.NOT_FOUND, hint="list them: taskgate files SESSION")
    if len(matches) > 1:
        numbers = ", ".join(f"{one.request} ({one.way})" for one in matches[:_MAX_TOLD])
        stop(
            f"{len(matches)} files are meant: {numbers}",
            Exit.USAGE,
            hint="name one by its number, and --read or --written where it was both",
        )
    return matches[0]


def _get(client: Client, session: str, one: KeptFileShown, file: Path) -> None:
    from taskgate.model.errors import TaskgateError
    from taskgate.recording.kept_files import Rebuilding

    rebuilding = Rebuilding(one.way)
    try:
        with open(file, "x+b", opener=new_private) as out:
            try:
                _write(_events(client, session, one.request), rebuilding, out.fileno())
                _ensure_whole(one, rebuilding, out.fileno())
            except BaseException:
                # What is not what was recorded is not left to be taken for it.
                file.unlink(missing_ok=True)
                raise
    except TaskgateError as error:
        stop(error.message, Exit.INVALID, hint=error.hint)
    except OSError as error:
        stop(f"cannot write {file}: {error.strerror}", Exit.INVALID)
    _tell_about(one, rebuilding, file)


def _write(events: Iterator[EventShown], rebuilding: Rebuilding, file: int) -> None:
    from taskgate.recording.format import Entry
    from taskgate.recording.kept_files import Put

    for event in events:
        done = rebuilding.feed(Entry(event.sequence, event.at, event.kind, event.facts, b"", b""))
        if isinstance(done, Put):
            _put(file, done.data, done.offset)
        elif done is not None:
            os.ftruncate(file, done.size)


def _put(file: int, data: bytes, offset: int) -> None:
    while data:
        count = os.pwrite(file, data, offset)
        data, offset = data[count:], offset + count


def _ensure_whole(one: KeptFileShown, rebuilding: Rebuilding, file: int) -> None:
    if rebuilding.bytes < one.bytes:
        stop(
            f"the answer broke off: {rebuilding.bytes} of {one.bytes} bytes came",
            Exit.UNREACHABLE,
        )
    if not one.sha256 or rebuilding.shrunk:
        return
    hash_ = hashlib.sha256()
    at, end = one.first, one.first + one.bytes
    while at < end and (data := os.pread(file, min(1 << 20, end - at), at)):
        hash_.update(data)
        at += len(data)
    if hash_.hexdigest() != one.sha256:
        stop(
            "what was put together is not what went: its SHA-256 is another than the recorded one",
            Exit.TAMPERED,
            hint="taskgate audit verify tells whether the recording is as it was written",
        )


def _tell_about(one: KeptFileShown, rebuilding: Rebuilding, file: Path) -> None:
    say(f"written to {file}")
    checked = bool(one.sha256) and not rebuilding.shrunk
    tell(f"{rebuilding.size} bytes of {one.path}" + (", SHA-256 as recorded" if checked else ""))
    if rebuilding.append and one.way == "written":
        tell("it was appended to: where the file ended before, the client alone has said")
    _tell_parts("not in the recording, and zero here", rebuilding.missing())
    failed = [(offset, offset + count) for offset, count in rebuilding.failed]
    _tell_parts("sent, and not taken by the host", failed)
    if not one.over:
        tell("it is still open: more may come")


def _tell_parts(what: str, parts: list[tuple[int, int]]) -> None:
    for start, end in parts[:_MAX_TOLD]:
        tell(f"{what}: bytes {start} to {end}")
    if len(parts) > _MAX_TOLD:
        tell(f"{what}: {len(parts) - _MAX_TOLD} more places")


def _events(client: Client, session: str, request: int) -> Iterator[EventShown]:
    from taskgate.api.shapes import EventShown

    for data in client.stream(path("recordings", session, "files", str(request))):
        yield EventShown.model_validate_json(data)
