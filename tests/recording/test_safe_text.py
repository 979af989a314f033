"""No byte of a recording reaches a terminal as a command to it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.recording.safe_text import safe_line, safe_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, naïve, 日本語, 😀", "plain, naïve, 日本語, 😀"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31mred", "\\x9b31mred"),
        ("over\rwritten\x08\x08", "over\\rwritten\\x08\\x08"),
        ("a\u202etxet\u2066b", "a\\u202etxet\\u2066b"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("\x7f\x00", "\\x7f\\x00"),
        ("\ud800", "\\ud800"),
        ("line\u2028break\x85", "line\\u2028break\\x85"),
    ],
)
def test_controls_are_shown_not_sent(text: str, shown: str) -> None:
    assert safe_text(text) == shown
    assert safe_line(text) == shown


def test_lines_stay_lines_only_where_lines_may_be() -> None:
    assert safe_text("a\n\tb") == "a\n\tb"
    assert safe_line("a\n\tb") == "a\\n\\tb"


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_nothing_invisible_is_left(text: str) -> None:
    for char in safe_line(text):
        # Cc controls, Cf format, Cs surrogates, Zl and Zp separators.
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}, hex(ord(char))
    assert safe_line(safe_line(text)) == safe_line(text)
