"""Terminals as they are played, read and exported, from events alone."""

import json
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.errors import NotFound
from taskgate.model.limits import MAX_SCREEN_LINE_CHARS
from taskgate.recording.asciicast import asciicast
from taskgate.recording.content import content_of
from taskgate.recording.format import Entry
from taskgate.recording.screen_text import ScreenText
from taskgate.recording.terminal_replay import Pace, Player, play
from taskgate.recording.transcript import find, transcript, typed_text
from tests.recording.test_terminal_filter import SAFE

STARTED = ("terminal.started", {"request": 1, "columns": 40, "rows": 10, "term": "xterm"})
FINISHED = ("request.finished", {"request": 1, "exit_status": 0})


def output(text: str, request: int = 1) -> tuple[str, dict[str, Any]]:
    return "terminal.output", {"request": request, "text": text}


def entries(*events: tuple[str, dict[str, Any]], every_s: float = 1.0) -> list[Entry]:
    return [
        Entry(number, 1000.0 + number * every_s, kind, facts, b"", b"")
        for number, (kind, facts) in enumerate(events)
    ]


def played(*events: tuple[str, dict[str, Any]], rows: int = 24, pace: Pace = Pace(inf)) -> str:  # noqa: B008
    return "".join(step.text for step in play(entries(*events), Player(80, rows), pace))


@pytest.mark.parametrize(
    ("shown", "lines"),
    [
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("$ lx\b\x1b[Ks\r\n", ["$ ls"]),
        ("50%\r100%\r\n", ["100%"]),
        ("abcdef\r\x1b[K\n", [""]),
        ("ab\x1b[3Cc\tx\n", ["ab   c  x"]),
        ("abc\x1b[2DX\x1b[4GY\n", ["aXcY"]),
        ("abcd\r\x1b[2P\x1b[1@\n", [" cd"]),
        ("abc\x1b[1K\n", [""]),
        ("\x1b[?1049h\x1b[2;3Htop\x1b[5;1Hlow\x1b[?1049l", ["top", "low"]),
        ("\x1b[31mred\x1b[m \x1b]0;t\x07end\n", ["red end"]),
        ("prompt", ["prompt"]),
        ("\n\n", ["", ""]),
    ],
)
def test_what_was_shown_as_lines(shown: str, lines: list[str]) -> None:
    whole = ScreenText()
    assert [*whole.feed(shown.encode()), *whole.end()] == lines
    bytewise, found = ScreenText(), []
    for byte in shown.encode():
        found += bytewise.feed(bytes((byte,)))
    assert [*found, *bytewise.end()] == lines


@pytest.mark.cap("MAX_SCREEN_LINE_CHARS")
def test_a_line_without_end_is_parted() -> None:
    screen = ScreenText()
    found = screen.feed(b"x" * 100_000 + b"\x1b[9999@\x1b[9999C\x1b[9999G")
    assert max(map(len, found)) <= MAX_SCREEN_LINE_CHARS
    assert max(map(len, screen.end()), default=0) <= MAX_SCREEN_LINE_CHARS


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_lines_are_the_same_however_they_came(parts: list[bytes]) -> None:
    whole, pieces = ScreenText(), ScreenText()
    data = b"".join(parts)
    assert [*whole.feed(data), *whole.end()] == [
        *(line for part in parts for line in pieces.feed(part)),
        *pieces.end(),
    ]


def test_what_cannot_be_text_is_read_back() -> None:
    assert content_of({"base64": "/8M="}) == b"\xff\xc3"
    assert content_of({"base64": "!"}) == b""
    assert typed_text({"text": "ls\x1b"}) == "typed: ls\\x1b"
    assert typed_text({"hidden": 3}) == "(3 bytes typed and not shown)"


def test_the_pace() -> None:
    events = entries(STARTED, output("a"), output("b"), output("c"), FINISHED, every_s=4.0)
    player = Player(80, 24)
    steps = list(play(events, player, Pace(speed=2.0, max_idle_s=1.5, from_s=5.0)))
    # The terminal and its empty screen, then a at once; b and c each cut to the longest silence.
    assert [step.delay_s for step in steps] == [0.0, 0.0, 0.0, 1.5, 1.5, 1.5, 0.0]
    with pytest.raises(ValueError, match="speed"):
        list(play(events, player, Pace(speed=0.0)))


def test_what_happens_beside_is_below_and_listed_again_afterwards() -> None:
    held = ("request.held", {"request": 2, "text": "reboot", "reason": "for \x1b]0;x\x07 leads"})
    seen = played(STARTED, output("$ "), held, output("ls\r\n"), FINISHED)
    assert "\x1b[1;10r" in seen
    assert seen.count("\x1b[11;1H") >= 2
    before, after = seen.split("\x1b[?25h\x1b[r")
    assert "[2] HOLD: for \\x1b]0;x\\x07 leads" in before
    assert "[2] HOLD: for \\x1b]0;x\\x07 leads" in after
    assert "> reboot" in after


def test_without_a_row_to_spare_nothing_is_written_below() -> None:
    seen = played(STARTED, output("x"), ("request.denied", {"request": 2}), FINISHED, rows=10)
    assert "\x1b[11;1H" not in seen
    assert "DENY" in seen.split("\x1b[?25h\x1b[r")[1]


def test_the_line_below_leaves_a_kept_cursor_alone() -> None:
    seen = played(STARTED, output("a\x1b7"), output("b"), output("c\x1b8"), FINISHED)
    assert "b\x1b7" not in seen
    assert "c\x1b8\x1b7" in seen


def test_of_two_terminals_the_first_is_played_and_the_other_told() -> None:
    second = ("terminal.started", {"request": 2, "columns": 80, "rows": 24, "term": "x"})
    events = (STARTED, second, output("first\r\n"), output("other\r\n", 2), FINISHED)
    seen = played(*events)
    screen, after = seen.split("\x1b[?25h\x1b[r")
    assert "first" in screen
    assert "[2] | other" in after
    steps = play(entries(*events), Player(80, 30, request=2), Pace(inf))
    assert "other\r\n" in "".join(step.text for step in steps)


def test_a_shell_without_a_terminal_is_told_in_lines() -> None:
    started = ("terminal.started", {"request": 1, "tier": "open"})
    assert "    [1] | out\r\n" in played(started, output("out\n"), FINISHED)


def test_a_terminal_that_never_ended_leaves_the_watchers_as_it_should_be() -> None:
    seen = played(STARTED, output("\x1b[?1049h\x1b[?25lx"))
    assert seen.endswith(
        "\x1b[?1049l\x1b[m\x1b[4l\x1b[?6l\x1b[?7h\x1b[?12l\x1b[?25h\x1b[r\x1b[11;1H\x1b[J"
    )


def test_a_terminal_of_no_size_is_played_at_the_usual_one() -> None:
    started = ("terminal.started", {"request": 1, "columns": 0, "rows": 0, "term": ""})
    assert "\x1b[1;24r" in played(started, output("x"), FINISHED, rows=30)


def test_resized() -> None:
    resized = ("terminal.resized", {"request": 1, "columns": 50, "rows": 12})
    assert "\x1b[1;12r" in played(STARTED, resized, output("x"), FINISHED)
    assert "\x1b[13;1H" in played(STARTED, resized, output("x"), FINISHED)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20), st.lists, max_leaves=3
)
KINDS = ["terminal.started", "terminal.output", "terminal.input", "terminal.resized",
         "request.finished", "request.held", "session.closed"]  # fmt: skip
EVENTS = st.tuples(
    st.sampled_from(KINDS),
    st.dictionaries(
        st.sampled_from(["request", "columns", "rows", "text", "base64", "hidden", "reason"]), ANY
    ),
)


@given(st.lists(EVENTS, max_size=12))
def test_whatever_was_recorded_only_what_is_safe_is_written(
    events: list[tuple[str, dict[str, Any]]],
) -> None:
    assert SAFE.fullmatch(played(STARTED, *events))
    for written in transcript(entries(*events)):
        assert all("\x1b" not in line and "\n" not in line for line in written.lines)


def test_find() -> None:
    asked = ("request.permitted", {"request": 1, "text": "shell (open)"})
    typed = ("terminal.input", {"request": 1, "text": "cat Secret"})
    events = entries(asked, STARTED, typed, output("the secret is\r\n"), FINISHED)
    found = [(moment.offset_s, moment.line) for moment in find(events, "secret")]
    assert found == [(2.0, "[1] typed: cat Secret"), (3.0, "[1] | the secret is")]
    assert [moment.offset_s for moment in find(events, "SHELL (")] == [0.0]


def test_an_asciicast() -> None:
    events = entries(
        ("session.opened", {}), STARTED, output("a\x1b]0;x\x07\x1b[1mb"),
        ("terminal.input", {"request": 1, "text": "ls"}),
        ("terminal.input", {"request": 1, "hidden": 9}),
        ("terminal.resized", {"request": 1, "columns": 50, "rows": 12}),
        ("request.denied", {"request": 2, "reason": "no"}), output("other", 2), FINISHED,
        output("later"),
    )  # fmt: skip
    header, *lines = [json.loads(line) for line in asciicast(events, "a session")]
    assert header == {
        "version": 2, "width": 40, "height": 10, "timestamp": 1001, "title": "a session",
        "env": {"TERM": "xterm"},
    }  # fmt: skip
    assert lines[:3] == [[1.0, "o", "a\x1b[1mb"], [2.0, "i", "ls\r"], [4.0, "r", "50x12"]]
    assert [kind for _, kind, _ in lines] == ["o", "i", "r", "m", "m"]
    with pytest.raises(NotFound):
        list(asciicast(entries(FINISHED), "none"))
