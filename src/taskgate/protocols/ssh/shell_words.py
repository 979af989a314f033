"""The characters of a word: which of them stand for themselves (POSIX XCU 2.2 and 2.6)."""

from taskgate.protocols.ssh.shell import Line

# Text, whether it was quoted, or a line whose output stands here.
Piece = tuple[str, bool, Line | None]

_EXPANDS = frozenset("*?[$`")
# What an unescaped word cannot hold; the grammar has parted words there.
_NEVER = frozenset(" \t\n;&|<>()'\"")
_ESCAPED_IN_QUOTES = frozenset('$`"\\')


def only_text(raw: str) -> list[Piece]:
    """An unquoted word: a backslash quotes what follows, a line end after one vanishes."""
    pieces: list[Piece] = []
    at = 0
    while at < len(raw):
        if raw[at] != "\\":
            pieces.append((raw[at], False, None))
            at += 1
            continue
        if at + 1 < len(raw) and raw[at + 1] != "\n":
            pieces.append((raw[at + 1], True, None))
        at += 2
    return pieces


def double_quoted(raw: str) -> str | None:
    """What stands between double quotes; None where a part of it is yet to be expanded."""
    found: list[str] = []
    at = 0
    while at < len(raw):
        character = raw[at]
        following = raw[at + 1] if at + 1 < len(raw) else ""
        if character == "\\" and following == "\n":
            at += 2
        elif character == "\\" and following in _ESCAPED_IN_QUOTES and following:
            found.append(following)
            at += 2
        elif character in "$`":
            return None
        else:
            found.append(character)
            at += 1
    return "".join(found)


def plain_word(pieces: list[Piece]) -> str:
    """Why a word does not stand for itself alone; empty where it does."""
    bare = "".join(text for text, quoted, _ in pieces if not quoted)
    if pieces and not pieces[0][1] and pieces[0][0].startswith("~"):
        return "~ stands for a folder"
    if any(character in _EXPANDS for character in bare):
        return "a wildcard or a variable"
    if any(character in _NEVER for character in bare):
        return "a word that is read in more than one way"
    if "{" in bare and ("," in bare or ".." in bare):
        return "{ } stands for several words"
    if "=~" in bare or ":~" in bare:
        return "~ stands for a folder"
    return ""
