"""What the gate itself understands of a gated shell's lines, and what it says there."""

import re
from dataclasses import dataclass, replace
from typing import Final

from taskgate.model.errors import Denied, Unreadable
from taskgate.model.limits import MAX_CHANNEL_VARIABLES, MAX_VARIABLE_BYTES
from taskgate.protocols.ssh.place import Place
from taskgate.protocols.ssh.reading import Dynamic, is_whole, read_declaration, read_line
from taskgate.protocols.ssh.shell import Line, Simple

_HERE_DOCUMENT: Final = re.compile(r"""(?<!<)<<-?\s*\\?['"]?(\w+)""")
_COMPOUND: Final = re.compile(r"\s*(?:(?:for|while|until|if|case|select|function)\s|[({])")
BUILTINS: Final = ("cd", "exit", "export", "help", "history", "jobs", "logout", "pwd", "unset")


@dataclass(frozen=True, slots=True)
class Builtin:
    """A line that the gate does itself: its words, the first one of `BUILTINS`."""

    text: str
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.words[0]

    @property
    def operands(self) -> tuple[str, ...]:
        return self.words[2:] if self.words[1:2] == ("--",) else self.words[1:]


def read_builtin(text: str, place: Place) -> Builtin | None:
    """The builtin that `text` is; None for a line that is judged as a command. A builtin in a
    longer line is the host's own, and counts for that line alone."""
    declared = read_declaration(text)
    if declared is not None:
        return Builtin(text, declared) if declared[0] in BUILTINS else None
    try:
        line = read_line(text, place=place)
    except (Dynamic, Unreadable):
        return None
    command = _only(line)
    if command is None or command.settings or command.redirects:
        return None
    words = tuple(word.text for word in command.words)
    if words[0] not in BUILTINS or None in words:
        return None
    return Builtin(text, tuple(word or "" for word in words))


def is_unfinished(text: str) -> bool:
    """Whether more lines belong to `text`: a quote, a here-document or a compound command is open,
    or it ends in a backslash or an operator (POSIX XCU 2.2, 2.7.4, 2.9.4)."""
    quote, at = "", 0
    while at < len(text):
        character = text[at]
        if character == "\\" and quote != "'":
            at += 1
            if at == len(text):
                return True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        at += 1
    ends = [line.strip() for line in text.split("\n")]
    return (
        bool(quote)
        or any(end not in ends for end in _HERE_DOCUMENT.findall(text))
        or text.rstrip(" \t").endswith(("|", "&&"))
        or (_COMPOUND.match(text) is not None and not is_whole(text))
    )


def is_readable(text: str) -> bool:
    """Whether it is shell text at all."""
    try:
        read_line(text)
    except Dynamic:
        return True
    except Unreadable:
        return False
    return True


def _only(line: Line) -> Simple | None:
    if len(line.items) != 1 or line.items[0][1].negated:
        return None
    stages = line.items[0][1].stages
    return stages[0] if len(stages) == 1 and isinstance(stages[0], Simple) else None


def read_exports(builtin: Builtin) -> dict[str, str]:
    """The variables that an `export` sets.

    Raises: Denied.
    """
    found: dict[str, str] = {}
    for operand in builtin.operands:
        name, sign, value = operand.partition("=")
        if not (name.isascii() and name.isidentifier()) or not sign:
            raise Denied(
                f"export {operand[:40]}: this is no NAME=VALUE",
                rule="unknown is refused",
                hint="export NAME=VALUE sets a variable for the lines that follow",
            )
        if not value.isprintable() or len(operand.encode()) > MAX_VARIABLE_BYTES:
            raise Denied(
                f"export {name}: the value is too long, or not printable text",
                rule="unknown is refused",
            )
        found[name] = value
    return found


def exported(place: Place, variables: dict[str, str]) -> Place:
    """Raises: Denied where there would be too many."""
    together = dict(place.variables) | variables
    if len(together) > MAX_CHANNEL_VARIABLES:
        raise Denied(
            f"more than {MAX_CHANNEL_VARIABLES} variables",
            rule="unknown is refused",
            hint="unset some",
        )
    return replace(place, variables=tuple(together.items()))


def unset(place: Place, names: tuple[str, ...]) -> Place:
    kept = tuple((name, value) for name, value in place.variables if name not in names)
    return replace(place, variables=kept)


def prompt(task: str, resource: str, folder: str, columns: int) -> str:
    """`restart-web@web-1 /srv/app> `, the folder cut where the line is short."""
    shown = "".join(c if c.isprintable() else "?" for c in folder)
    room = max(10, columns // 2 - len(task) - len(resource))
    if len(shown) > room:
        shown = "..." + shown[-room:]
    whole = f"{task}@{resource} {shown}> "
    return whole if len(whole) < columns - 10 else "> "
