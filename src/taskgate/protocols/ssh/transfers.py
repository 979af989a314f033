"""rsync's far end: `rsync --server [--sender] OPTIONS . PATH...`, which a client's rsync asks for.

Its usual options say how files are compared and carried. They differ from client to client, so a
`*` or `**` may stand for them. All others are guarded, those that are not known too: which way
files go, what is removed, other folders and files, following links. The options are those that
rsync itself sends to a server (rsync(1); `server_options` in its options.c).
"""

import re
from dataclasses import dataclass
from typing import Final

from taskgate.model.paths import plain_path

Words = tuple[str | None, ...]

_SERVER: Final = "--server"
_SENDER: Final = "--sender"
# The first operand: the folder that the paths are seen from.
_HERE: Final = "."
# Letters may stand together; `e` ends them, and says what the client is capable of. Left out are
# those that follow links (K, L, k) and the one that has the rest come later on (s).
_LETTERS: Final = r"-(?=.)[vqunldbtogDUNpEAXrcCIRxSzHWOJmy]*(?:e[0-9.]*[A-Za-z]+)?"
_FLAGS: Final = frozenset({
    "--append", "--delay-updates", "--existing", "--fsync", "--ignore-errors",
    "--ignore-existing", "--ignore-missing-args", "--inplace", "--list-only", "--mkpath",
    "--msgs2stderr", "--new-compress", "--no-W", "--no-implied-dirs", "--no-msgs2stderr", "--no-r",
    "--no-relative", "--no-specials", "--numeric-ids", "--old-compress", "--open-noatime",
    "--partial", "--preallocate", "--safe-links", "--size-only", "--specials", "--stats",
    "--use-qsort",
})  # fmt: skip
_VALUED: Final = (
    r"--(?:compress-level|timeout|bwlimit|max-delete|modify-window|checksum-seed)=-?[0-9]+"
    r"|--(?:min-size|max-size)=[0-9.]+[A-Za-z]*(?:[+-]1)?"
    r"|--(?:checksum-choice|compress-choice|info)=[A-Za-z0-9,]+"
    r"|--log-format=(?:X|%i|%o|%i%I)"
    r"|--skip-compress=[A-Za-z0-9/]*"
    r"|-B[0-9]+|-@-?[0-9]+"
)
_USUAL: Final = re.compile(f"(?:{_LETTERS}|{_VALUED})\\Z")
# What a receiver removes, and a sender: its own files, once they were sent.
_DELETES: Final = ("--del", "--force")
_TAKES: Final = frozenset({"--remove-source-files", "--remove-sent-files"})


@dataclass(frozen=True, slots=True)
class Transfer:
    """What such a line says. `guarded` are the places of words that only a literal may permit;
    `effects` verbs and the folders that they reach, with all below."""

    guarded: tuple[int, ...]
    effects: tuple[tuple[str, str], ...]


def read_transfer(words: Words) -> Transfer | None:
    """What rsync is asked to do at the host; None for any other command."""
    if len(words) < 2 or words[0] is None or words[0].rsplit("/", 1)[-1] != "rsync":
        return None
    if _SERVER not in words:
        return None
    here = words.index(_HERE) if _HERE in words else len(words)
    sends = _SENDER in words
    # The `.` too: a `**` for options does not reach over it to what follows.
    options = (
        at for at in range(1, min(here + 1, len(words))) if not _is_usual(words[at], sends=sends)
    )
    # Options may stand behind operands.
    operands = (at for at in range(here + 1, len(words)) if not _is_path(words[at]))
    return Transfer((*options, *operands), _effects(words, here, sends=sends))


def _is_usual(word: str | None, *, sends: bool) -> bool:
    if word is None:
        return False
    return word in _FLAGS or _USUAL.match(word) is not None or (word in _TAKES and not sends)


def _is_path(word: str | None) -> bool:
    return word is not None and word != _HERE and not word.startswith("-")


def _effects(words: Words, here: int, *, sends: bool) -> tuple[tuple[str, str], ...]:
    removes = any(
        word is not None and (word in _TAKES if sends else word.startswith(_DELETES))
        for word in words
    )
    verbs = ("read" if sends else "write", *(("remove",) if removes else ()))
    paths = {_tree(word) for word in words[here + 1 :]} or {"/"}
    return tuple((verb, path) for verb in verbs for path in sorted(paths))


def _tree(word: str | None) -> str:
    """A path that cannot be told might be anywhere."""
    try:
        return plain_path(word or "")
    except ValueError:
        return "/"
