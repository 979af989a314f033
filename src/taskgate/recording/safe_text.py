"""Text from a recording, made safe to show on a terminal.

What people and databases sent may hold escape sequences that retitle a window, rewrite the lines
above, or answer back as if typed (ECMA-48), and controls that show text in another order than it
is read in (Unicode UAX #9; CVE-2021-42574). They are shown as `\\x1b`, `\\u202e`.
"""

import re

# C0 and C1 controls and DEL; soft hyphen; the bidirectional controls and isolates; zero-width
# and other invisible format characters; line and paragraph separators; surrogates; the byte
# order mark, interlinear annotations, tags, variation selectors. Tab and LF are kept or not
# by the callers.
_UNSAFE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_UNSAFE_TEXT = re.compile(f"[{_UNSAFE}]")
_UNSAFE_LINE = re.compile(f"[{_UNSAFE}\t\n]")


def safe_text(text: str) -> str:
    """The text with every control and invisible character escaped, tab and LF kept."""
    return _UNSAFE_TEXT.sub(_escaped, text)


def safe_line(text: str) -> str:
    """The text in one line: tab and LF are escaped as well."""
    return _UNSAFE_LINE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    short = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}.get(number)
    if short:
        return short
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
