"""Commands that run what they are told: which of their words only a literal may permit.

A pattern such as `find /srv **` is meant for finding. What such a command is handed as code, or as
another command to run, is guarded (`model.names.Guarded`): a wildcard does not reach it, so whoever
permits it spells it out. The commands found inside are judged beside, as reached through the outer
one: a deny or a hold counts for them.

The lists are of what is known, and cannot be whole: a pattern that ends in `**` hands every other
option of its command to the client (docs/ssh.md says so).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from taskgate.model.names import Guarded
from taskgate.protocols.ssh.program_names import (
    BUILTINS,
    CARRIERS,
    INTERPRETERS,
    OPTIONS,
    SHELLS,
)
from taskgate.protocols.ssh.transfers import read_transfer

Words = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A command's words, the guarded ones marked; commands it is known to run; and shell text it
    is handed. `unsure`: which words are guarded hangs on one that is not known."""

    words: Words
    inner: tuple[Words, ...] = ()
    code: tuple[str, ...] = ()
    unsure: bool = False


def read_program(words: Words) -> Program:
    """What is known of a command by its words; None for one that could not be resolved."""
    program = _known(words)
    # A `*` stands for a name below a folder, not for the way out of it.
    marked = tuple(
        Guarded(word) if word is not None and ".." in word.split("/") else word
        for word in program.words
    )
    return replace(program, words=marked)


def _known(words: Words) -> Program:
    if not words or words[0] is None:
        return Program(words)
    name = base_name(words[0])
    wrapper = _WRAPPERS.get(name)
    if wrapper is not None:
        return _wrapped(words, wrapper(words))
    if name in INTERPRETERS or name.startswith(("python3.", "python2.", "perl5.", "php8")):
        return _interpreter(words)
    if name in CARRIERS or name in BUILTINS:
        return _guarded(words, range(len(words)), *_carried(name, words))
    transfer = read_transfer(words)
    if transfer is not None:
        return _guarded(words, transfer.guarded)
    if name in OPTIONS:
        return _options(name, words)
    return Program(words)


def base_name(command: str) -> str:
    """`systemctl` of `/bin/systemctl`."""
    return command.rsplit("/", 1)[-1]


def _guarded(
    words: Words,
    which: range | Sequence[int],
    inner: tuple[Words, ...] = (),
    code: tuple[str, ...] = (),
) -> Program:
    chosen = set(which)
    unsure = any(words[at] is None for at in chosen)
    marked = tuple(
        Guarded(word) if at in chosen and word is not None else word
        for at, word in enumerate(words)
    )
    return Program(marked, inner, code, unsure)


def _interpreter(words: Words) -> Program:
    """With a file first, what follows is the file's own business; with options, all is guarded."""
    first = words[1] if len(words) > 1 else None
    if first is not None and not first.startswith(("-", "+")):
        return _guarded(words, range(2))
    code = tuple(
        following
        for option, following in pairwise(words)
        if option is not None and following is not None and _is_code_option(option)
    )
    shell = words[0] is not None and base_name(words[0]) in SHELLS
    return _guarded(words, range(len(words)), (), code if shell else ())


def _is_code_option(option: str) -> bool:
    # `-lc` too: letters of a shell's options may stand together.
    return option.startswith("-") and not option.startswith("--") and option.endswith("c")


def _options(name: str, words: Words) -> Program:
    """Options are guarded; so is, for `find`, all from the first that runs a command."""
    which = [
        at
        for at, word in enumerate(words)
        if word is None or (at > 0 and word.startswith("-")) or "ext::" in word
    ]
    if name != "find":
        return _guarded(words, which)
    inner: list[Words] = []
    for at, word in enumerate(words):
        if word in ("-exec", "-execdir", "-ok", "-okdir"):
            which += range(at, len(words))
            ends = [end for end in range(at + 1, len(words)) if words[end] in (";", "+")]
            inner.append(words[at + 1 : ends[0] if ends else len(words)])
    return _guarded(words, which, tuple(inner))


def _carried(name: str, words: Words) -> tuple[tuple[Words, ...]]:
    """What a carrier is plainly told to run: `xargs rm`, `watch df`."""
    if name not in ("xargs", "watch", "parallel", "busybox", "toybox", "chroot", "unshare"):
        return ((),)
    for at in range(1, len(words)):
        word = words[at]
        if word is None or not word.startswith("-"):
            # An option's value may be taken for the command; so what follows counts as well.
            return (tuple(words[start:] for start in range(at, min(at + 3, len(words)))),)
    return ((),)


# Wrappers: where the command begins that they run, None where that cannot be told.


def _wrapped(words: Words, at: int | None) -> Program:
    if at is None or at >= len(words):
        return _guarded(words, range(len(words)))
    # Everything between an option and the command could be the option's value.
    options = (i for i in range(1, at) if _is_option(words[i]))
    first = min(options, default=at)
    inner = read_program(words[at:])
    program = _guarded(words, [*range(first, at), at], (words[at:], *inner.inner), inner.code)
    marked = (*program.words[: at + 1], *inner.words[1:])
    return Program(marked, program.inner, program.code, program.unsure or inner.unsure)


def _is_option(word: str | None) -> bool:
    return word is None or word.startswith("-") or "=" in word


def _after(
    words: Words, *, flags: str = "", valued: str = "", long: Sequence[str] = (), operands: int = 0
) -> int | None:
    """Where the command begins behind known options: `flags` stand alone, `valued` take a value
    (apart, or in the same word), `long` stand alone or hold their value after an `=`."""
    at = 1
    while at < len(words):
        word = words[at]
        if word is None:
            return None
        if word == "--":
            at += 1
            break
        if not word.startswith("-") or word == "-":
            break
        if word.startswith("--"):
            if word.partition("=")[0] not in long:
                return None
            at += 1
            continue
        letters = word[1:]
        while letters and letters[0] in flags:
            letters = letters[1:]
        if letters and letters[0] not in valued:
            return None
        at += 2 if len(letters) == 1 else 1
    return at + operands


def _env(words: Words) -> int | None:
    at = _after(words, flags="i0v", valued="uC", long=("--ignore-environment", "--unset"))
    while at is not None and at < len(words):
        word = words[at]
        if word is None or "=" not in word:
            return at if word is not None else None
        at += 1
    return at


def _sudo(words: Words) -> int | None:
    long = ("--user", "--group", "--non-interactive", "--set-home")
    at = _after(words, flags="nHk", valued="ug", long=long)
    # `sudo A=b command` sets a variable.
    return None if at is None or at >= len(words) or "=" in (words[at] or "=") else at


_WRAPPERS: Final[dict[str, Callable[[Words], int | None]]] = {
    "env": _env,
    "sudo": _sudo,
    "timeout": lambda words: _after(
        words,
        flags="v",
        valued="ks",
        long=("--foreground", "--kill-after", "--preserve-status", "--signal", "--verbose"),
        operands=1,
    ),
    "nice": lambda words: _after(words, valued="n", long=("--adjustment",)),
    "ionice": lambda words: _after(words, flags="t", valued="cn"),
    "nohup": _after,
    "setsid": lambda words: _after(words, flags="fw"),
    "stdbuf": lambda words: _after(words, valued="ioe", long=("--input", "--output", "--error")),
    "time": lambda words: _after(words, flags="pv"),
    "command": lambda words: _after(words, flags="p"),
    "exec": _after,
}
