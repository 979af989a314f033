"""What of a host's output reaches the terminal of whoever replays it."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.limits import MAX_CONTROL_SEQUENCE_CHARS
from taskgate.recording.terminal_filter import TerminalFilter, TerminalReader, Text

# What may be written: text, BS HT LF CR, and the sequences on the list, in their one spelling.
SAFE = re.compile(
    r"(?:[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|[\b\t\n\r]|\x1b[78DEM]"
    r"|\x1b\[[0-9;:]*[@A-HIJKLMPSTXZ`abdefmr]|\x1b\[[su]|\x1b\[4[hl]"
    r"|\x1b\[\?(?:6|7|12|25|47|1047|1048|1049)[hl])*"
)

PASSES = [
    ("plain", "plain"),
    ("caf\u00e9 \u4e2d \U0001f600", "caf\u00e9 \u4e2d \U0001f600"),
    ("a\r\nb\tc\bd", "a\r\nb\tc\bd"),
    ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
    ("\x1b[38:2::1:2:3mx", "\x1b[38:2::1:2:3mx"),
    ("\x1b[2J\x1b[H\x1b[3;4H\x1b[5d", "\x1b[2J\x1b[H\x1b[3;4H\x1b[5d"),
    (
        "\x1b[?1049h\x1b[1;10r\x1b[2L\x1b[3P\x1b[?25l",
        "\x1b[?1049h\x1b[1;10r\x1b[2L\x1b[3P\x1b[?25l",
    ),
    ("\x1b7\x1b8\x1bM\x1bD\x1bE", "\x1b7\x1b8\x1bM\x1bD\x1bE"),
    # Eight-bit CSI is written as seven.
    ("\x9b1mx", "\x1b[1mx"),
    # Controls within a sequence are done at once; what is too large is made smaller.
    ("\x1b[3\n1mx", "\n\x1b[31mx"),
    ("\x1b[99999999999b", "\x1b[9999b"),
    # Frames of DEC's special graphics, in either place.
    ("\x1b(0lqk\x1b(Blqk", "\u250c\u2500\u2510lqk"),
    ("\x1b)0\x0eqx\x0fqx", "\u2500\u2502qx"),
    # Of several modes, those on the list.
    ("\x1b[?1;1000;25;2004h", "\x1b[?25h"),
    # A full reset becomes an empty screen.
    ("\x1bcx", "\x1b[m\x1b[r\x1b[2J\x1b[Hx"),
]

DROPPED = {
    "title": "\x1b]0;rm -rf /\x07",
    "title, by ST": "\x1b]2;x\x1b\\",
    "clipboard (OSC 52)": "\x1b]52;c;cm0gLXJmIC8K\x07",
    "clipboard read back": "\x1b]52;c;?\x07",
    "link (OSC 8)": "\x1b]8;;http://evil.example/\x1b\\",
    "palette": "\x1b]4;1;rgb:ff/00/00\x07",
    "palette asked": "\x1b]10;?\x07",
    "working folder": "\x1b]7;file://host/x\x07",
    "notification": "\x1b]9;hello\x07",
    "iTerm's file download": "\x1b]1337;File=name=eA==;inline=0:eA==\x07",
    "eight-bit OSC": "\x9d0;title\x9c",
    "title report": "\x1b[21t",
    "window moved": "\x1b[3;0;0t",
    "window resized": "\x1b[8;1;1t",
    "device attributes": "\x1b[c\x1b[>c\x1b[=c\x1b[0c",
    "status report": "\x1b[5n\x1b[6n\x1b[?6n",
    "terminal parameters": "\x1b[x",
    "DECRQSS": '\x1bP$q"p\x1b\\',
    "DECRQM": "\x1b[?2026$p",
    "checksum of the screen": "\x1b[1;1;1;1;1;1*y",
    "sixel": "\x1bPq#0;2;0;0;0~\x1b\\",
    "tmux passthrough": "\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\",
    "user-defined keys": "\x1bP0;1|17/726d\x1b\\",
    "eight-bit DCS": "\x90$qm\x9c",
    "application command (kitty)": "\x1b_Gf=24;AAAA\x1b\\",
    "privacy message": "\x1b^x\x1b\\",
    "start of string": "\x1bXx\x1b\\",
    "printing": "\x1b[5i\x1b[4i\x1b[?5i",
    "mouse": "\x1b[?1000h\x1b[?1002h\x1b[?1003h\x1b[?1006h\x1b[?9h",
    "mouse, highlighted": "\x1b[1;2;3;4;5T",
    "focus reports": "\x1b[?1004h",
    "bracketed paste": "\x1b[?2004h",
    "keyboard of kitty": "\x1b[>1u\x1b[=5u\x1b[?u",
    "keys of xterm": "\x1b[>4;2m",
    "application keys": "\x1b[?1h\x1b=",
    "keyboard locked": "\x1b[2h",
    "132 columns": "\x1b[?3h\x1b[?40h",
    "margins": "\x1b[1;5s",
    "history erased": "\x1b[3J",
    "soft reset": "\x1b[!p",
    "conformance level": '\x1b[62;1"p',
    "cursor's shape": "\x1b[3 q",
    "bell, answerback, NUL, DEL": "\x07\x05\x00\x7f",
    "identify": "\x1bZ\x9a",
    "locking shift": "\x1bn\x1bo\x1b|",
    "national set": "\x1b(A\x1b%@\x1b%G",
    "alignment test": "\x1b#8",
    "memory lock": "\x1bl\x1bm",
    "tab stop": "\x1bH",
    "a sequence that is no more than long": "\x1b[" + "1" * 1000 + "m",
    "a string in a string": "\x1b]0;a\x1b]52;c;eA==\x07",
    "a string given up": "\x1b]0;title\x18",
    "a rectangle filled": "\x1b[65;1;1;9;9$x",
    "C1 in UTF-8": "\u0085\u0084",
}


def fed(data: bytes, *cuts: int) -> str:
    found = TerminalFilter()
    edges = [0, *cuts, len(data)]
    return "".join(found.filter(data[a:b]) for a, b in pairwise(edges))


@pytest.mark.parametrize(("printed", "written"), PASSES)
def test_what_paints_a_screen_passes(printed: str, written: str) -> None:
    data = printed.encode()
    assert fed(data) == written
    for cut in range(len(data)):
        assert fed(data, cut) == written
    assert fed(data, *range(len(data))) == written


@pytest.mark.parametrize("printed", DROPPED.values(), ids=DROPPED)
def test_what_reaches_beyond_the_screen_is_dropped_whole(printed: str) -> None:
    data = f"a{printed}b".encode()
    assert fed(data) == "ab"
    for cut in range(len(data)):
        assert fed(data, cut) == "ab"


@pytest.mark.parametrize(
    "start", ["\x1b", "\x1b[", "\x1b[1", "\x1b]0;x", "\x1bP", "\x1b(", "\x1b]0;x\x1b"]
)
def test_a_sequence_left_open_passes_nothing(start: str) -> None:
    found = TerminalFilter()
    assert found.filter(start.encode()) == ""
    assert SAFE.fullmatch(found.end())


def test_text_in_another_order_is_shown_as_it_is_read() -> None:
    assert fed("a\u202eb\u2066c\u200fd".encode()) == "a\ufffdb\ufffdc\ufffdd"


def test_bytes_that_are_no_utf_8_are_shown_as_such() -> None:
    # A lone 0x9b would be a control sequence to a terminal of eight bits.
    assert fed(b"a\x9b1mb\xff") == "a\ufffd1mb\ufffd"


def test_what_is_kept_above_leaves_the_rows_below_alone() -> None:
    found = TerminalFilter(rows=10)
    assert found.begin() == "\x1b[2J\x1b[1;10r\x1b[H"
    assert found.filter(b"\x1b[99;5H\x1b[r\x1b[3;50r\x1b[50;60r\x1b[99d") == (
        "\x1b[10;5H\x1b[1;10r\x1b[3;10r\x1b[1;10r\x1b[10d"
    )


def test_at_the_end_the_terminal_is_as_any_program_expects_it() -> None:
    found = TerminalFilter()
    found.filter(b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[4h\x1b[7m\x1b[2;3r\x1b(0")
    end = found.end()
    for wanted in ("\x1b[?1049l", "\x1b[?25h", "\x1b[?7h", "\x1b[4l", "\x1b[m", "\x1b[r"):
        assert wanted in end
    assert "\x1b[?1049l" not in TerminalFilter().end()


@pytest.mark.cap("MAX_CONTROL_SEQUENCE_CHARS")
def test_a_sequence_without_end_takes_no_memory() -> None:
    reader = TerminalReader()
    assert list(reader.read(b"\x1b[" + b"1" * 100_000)) == []
    assert len(reader._collected) <= MAX_CONTROL_SEQUENCE_CHARS
    assert list(reader.read(b"mx")) == [Text("x")]


PIECES = st.sampled_from(
    ["\x1b", "[", "]", "P", "\\", "?", ";", "0", "52", "m", "h", "t", "c", "\x07", "\x9b", "\x9d",
     "\x9c", "x", "(", "0", " ", "$", "q", "\x18", "\x0e", "\u202e", ">", "!", "\n", "u"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=60).map("".join), st.integers(0, 200))
def test_whatever_is_printed_only_the_list_is_written(printed: str, cut: int) -> None:
    data = printed.encode()
    written = fed(data)
    assert SAFE.fullmatch(written), written
    assert fed(data, min(cut, len(data))) == written


@given(st.binary(max_size=200), st.integers(0, 200))
def test_whatever_bytes_only_the_list_is_written(data: bytes, cut: int) -> None:
    written = fed(data)
    assert SAFE.fullmatch(written), written
    assert fed(data, min(cut, len(data))) == written
