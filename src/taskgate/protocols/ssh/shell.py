"""A command line as the gate understands it, and how it is written again.

Only what is in these types ever goes to a host under a pattern: the line is written anew from them,
every word quoted, so that the host's shell reads exactly the words that were judged, whatever the
grammar made of the client's text (POSIX XCU 2, Shell Command Language).
"""

import re
from dataclasses import dataclass

from taskgate.protocols.ssh.program_names import RESERVED

# Not `@` and `%`: in a command's name the grammar does not read them bare.
_SAFE = re.compile(r"[A-Za-z0-9_+:,./-]+\Z")
_IN_QUOTES = re.compile(r'([\\"$`])')


@dataclass(frozen=True, slots=True)
class Word:
    """One word: what it says, and the lines whose output is put into it. It stays one word."""

    pieces: tuple["str | Line", ...]

    @property
    def text(self) -> str | None:
        """None where only a run can tell."""
        if all(isinstance(piece, str) for piece in self.pieces):
            return "".join(piece for piece in self.pieces if isinstance(piece, str))
        return None

    def lines(self) -> tuple["Line", ...]:
        return tuple(piece for piece in self.pieces if not isinstance(piece, str))


@dataclass(frozen=True, slots=True)
class FileRedirect:
    """`2> /path`. `operator` is `<`, `>` or `>>`; `path` absolute and plain."""

    descriptor: str
    operator: str
    path: str


@dataclass(frozen=True, slots=True)
class DuplicateRedirect:
    """`2>&1`, or `2>&-` where `source` is `-`."""

    descriptor: str
    operator: str
    source: str


Redirect = FileRedirect | DuplicateRedirect


@dataclass(frozen=True, slots=True)
class Simple:
    """A simple command. `settings` are the variables set for it alone."""

    words: tuple[Word, ...]
    settings: tuple[tuple[str, Word], ...] = ()
    redirects: tuple[Redirect, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands that feed each other; `negated` by `!`."""

    stages: tuple["Stage", ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """`( ... )` or `{ ...; }`."""

    line: "Line"
    subshell: bool
    redirects: tuple[Redirect, ...] = ()


Stage = Simple | Group


@dataclass(frozen=True, slots=True)
class Line:
    """Pipelines in order, each with what joins it to the one before: `;`, `&&` or `||`."""

    items: tuple[tuple[str, Pipeline], ...]


def quote(word: str) -> str:
    """A word that every POSIX shell reads as itself, wherever it stands."""
    if _SAFE.match(word) and word not in RESERVED:
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def write_line(line: Line) -> str:
    """The line in the gate's own spelling."""
    written = ""
    for joint, pipeline in line.items:
        separator = {"": "", ";": "; ", "&&": " && ", "||": " || "}[joint if written else ""]
        written += separator + _pipeline(pipeline)
    return written


def _pipeline(pipeline: Pipeline) -> str:
    written = " | ".join(_stage(stage) for stage in pipeline.stages)
    return f"! {written}" if pipeline.negated else written


def _stage(stage: Stage) -> str:
    if isinstance(stage, Group):
        inner = write_line(stage.line)
        # With the space, `( (` is never read as the `((` of arithmetic.
        body = f"( {inner} )" if stage.subshell else f"{{ {inner}; }}"
        return " ".join([body, *map(_redirect, stage.redirects)])
    parts = [f"{name}={_word(value)}" for name, value in stage.settings]
    parts += [_word(word) for word in stage.words]
    return " ".join([*parts, *map(_redirect, stage.redirects)])


def _word(word: Word) -> str:
    text = word.text
    if text is not None:
        return quote(text)
    written = "".join(
        _IN_QUOTES.sub(r"\\\1", piece) if isinstance(piece, str) else f"$( {write_line(piece)} )"
        for piece in word.pieces
    )
    return f'"{written}"'


def _redirect(redirect: Redirect) -> str:
    if isinstance(redirect, FileRedirect):
        return f"{redirect.descriptor}{redirect.operator} {quote(redirect.path)}"
    return f"{redirect.descriptor}{redirect.operator}{redirect.source}"
