"""Refusals and notices as a person reads them behind `ssh`: lines on standard error.

A remote command's own statuses are all of 0 to 255, so no status can say "refused" without doubt.
126 is what a shell says of a command that may not be run (POSIX XCU 2.8.2), 125 what tools such as
`timeout` and `docker run` say of a fault of their own.
"""

from typing import Final

from taskgate.model.errors import Denied, NotAuthenticated, TaskgateError, Unreadable

REFUSED: Final = 126
FAILED: Final = 125
_MAX_LINE_CHARS: Final = 2_000
_SIGNALS: Final = {
    "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
    "USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15,
}  # fmt: skip


def status_of(error: TaskgateError) -> int:
    """The exit status that a refusal ends a channel with."""
    return REFUSED if isinstance(error, Denied | NotAuthenticated | Unreadable) else FAILED


def status_of_signal(name: str) -> int:
    """What a shell says of a command that a signal ended (POSIX XCU 2.8.2)."""
    return 128 + _SIGNALS.get(name, 0)


def refusal(error: TaskgateError) -> str:
    """What was refused, by which rule, and what to do next."""
    lines = [f"taskgate: {error.message}"]
    if isinstance(error, Denied) and error.rule and error.rule not in error.message:
        lines.append(f"taskgate: rule {error.rule}")
    if error.hint:
        lines.append(f"taskgate: {error.hint}")
    return told(lines)


def refusal_line(error: TaskgateError) -> str:
    """The same in one line, for where there is no more (RFC 4254, section 5.1)."""
    said = [error.message]
    if isinstance(error, Denied) and error.rule and error.rule not in error.message:
        said.append(f"rule {error.rule}")
    said += [error.hint] if error.hint else []
    return "".join(_plain(c) for c in f"taskgate: {'; '.join(said)}")[:_MAX_LINE_CHARS]


def notice(message: str, hint: str = "") -> str:
    """Something to know while the channel stays open."""
    return told([f"taskgate: {line}" for line in (message, hint) if line])


def told(lines: list[str]) -> str:
    """Lines safe for a terminal, which may be in raw mode: each ends in CR LF."""
    safe = ("".join(_plain(c) for c in line)[:_MAX_LINE_CHARS] for line in lines)
    return "".join(f"{line}\r\n" for line in safe)


def _plain(character: str) -> str:
    if character == "\t" or (character.isprintable() and character not in "\u2028\u2029"):
        return character
    return f"\\u{ord(character):04x}"
