"""Recordings shown: played again, searched, exported, and watched as they come."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskgate.cli.client import Client, path, signed_in
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import print_json_line, tell
from taskgate.cli.private import new_private

if TYPE_CHECKING:
    from taskgate.api.shapes import EventShown
    from taskgate.recording.format import Entry

Session = Annotated[str, typer.Argument(help="The session's id.")]
OneRequest = Annotated[
    int | None, typer.Option("--request", min=1, help="Only the terminal of that request.")
]
AsText = Annotated[
    bool, typer.Option("--text", help="Terminals as lines of text; so anyway where none is here.")
]


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (replay, watch):
        app.command()(command)


def replay(
    session: Session,
    speed: Annotated[float, typer.Option(help="1 is as it happened, 10 ten times faster.")] = 1.0,
    idle: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="No wait is longer than this.")
    ] = 2.0,
    at_once: Annotated[bool, typer.Option("--at-once", help="Without any waiting.")] = False,
    start: Annotated[
        float,
        typer.Option("--from", metavar="SECONDS", min=0, help="What is earlier is shown at once."),
    ] = 0.0,
    as_text: AsText = False,
    request: OneRequest = None,
    search: Annotated[
        str, typer.Option(metavar="TEXT", help="List where a text was shown, typed or asked.")
    ] = "",
    asciicast: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the terminal as an asciicast.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the events, one a line.")] = False,
) -> None:
    """Show a recording as it happened. Needs the replay right; the reading is recorded."""
    if not speed > 0:
        stop("--speed must be above 0", Exit.USAGE)
    client = signed_in()
    if as_json:
        for event in _events(client, session, contents=True):
            print_json_line(event)
        return
    entries = _entries(_events(client, session))
    if search:
        _search(entries, session, search)
    elif asciicast is not None:
        _export(entries, session, request, asciicast)
    else:
        pace = math.inf if at_once else speed
        _play(entries, pace, idle, start, as_text, request)


def watch(
    session: Session,
    as_text: AsText = False,
    request: OneRequest = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the events, one a line.")] = False,
) -> None:
    """Follow a live session as it happens; Ctrl-C leaves it. Needs the replay right, and is
    recorded. `taskgate terminate` cuts the session."""
    client = signed_in()
    if as_json:
        for event in _live(client, session, contents=True):
            print_json_line(event)
        return
    # What has happened already is shown at once; what comes then paces itself.
    if not as_text and sys.stdout.isatty():
        tell(f"watching {session}; Ctrl-C leaves, `taskgate terminate {session} --why ...` cuts it")
    _play(_entries(_live(client, session)), math.inf, 0.0, 0.0, as_text, request)


def _play(
    entries: Iterator[Entry],
    speed: float,
    idle: float,
    start: float,
    as_text: bool,
    request: int | None,
) -> None:
    if as_text or not sys.stdout.isatty():
        from taskgate.recording.replay import plan_replay

        for line in plan_replay(entries, speed=speed, max_idle_s=idle, from_s=start):
            _write(line.delay_s, line.line + "\n")
        return
    from taskgate.recording.terminal_replay import Pace, Player, play

    columns, rows = shutil.get_terminal_size()
    player = Player(columns, rows, request)
    try:
        for step in play(entries, player, Pace(speed, idle, start)):
            _write(step.delay_s, step.text)
    finally:
        _write(0.0, player.end())


def _write(delay_s: float, text: str) -> None:
    """`text` is safe already: by the renderer, or by the filter of terminals."""
    if delay_s > 0:
        time.sleep(delay_s)
    sys.stdout.write(text)
    sys.stdout.flush()


def _search(entries: Iterator[Entry], session: str, text: str) -> None:
    from taskgate.recording.transcript import find

    found = 0
    for moment in find(entries, text):
        found += 1
        sys.stdout.write(f"{moment.offset_s:10.1f}  {moment.line}\n")
    if not found:
        tell("it does not occur")
        raise SystemExit(Exit.NOT_FOUND)
    tell(f"seconds from the start; taskgate replay {session} --from SECONDS plays from there")


def _export(entries: Iterator[Entry], session: str, request: int | None, file: Path) -> None:
    from taskgate.model.errors import NotFound
    from taskgate.recording.asciicast import asciicast

    lines = asciicast(entries, f"taskgate session {session}", request)
    try:
        first = next(lines)
        # What a session showed is for whoever may replay it.
        with open(file, "x", encoding="utf-8", opener=new_private) as out:
            out.write(first)
            out.writelines(lines)
    except NotFound as error:
        stop(error.message, Exit.NOT_FOUND)
    except OSError as error:
        stop(f"cannot write {file}: {error.strerror}", Exit.INVALID)
    tell(f"written to {file}")


def _entries(events: Iterator[EventShown]) -> Iterator[Entry]:
    from taskgate.recording.format import Entry

    return (Entry(e.sequence, e.at, e.kind, e.facts, b"", b"") for e in events)


def _events(client: Client, session: str, *, contents: bool = False) -> Iterator[EventShown]:
    """Every event of a recording, page by page; of files how much went, unless their `contents` are
    wanted."""
    from taskgate.api.shapes import RecordingShown

    after: int | None = 0
    while after is not None:
        page = client.get(
            path("recordings", session), RecordingShown, after=after, contents=contents
        )
        yield from page.events
        after = page.next


def _live(client: Client, session: str, *, contents: bool = False) -> Iterator[EventShown]:
    """The same, and those that come, until the session has ended."""
    from taskgate.api.shapes import EventShown

    for data in client.stream(path("recordings", session) + "/stream", contents=contents):
        yield EventShown.model_validate_json(data)
