"""Where a line of a gated shell stands: its folder, its variables, the status before it; and how it
is put there at the host."""

import posixpath
from dataclasses import dataclass

from taskgate.model.action import Action
from taskgate.model.argv import spell_argv, split_argv
from taskgate.model.names import Guarded
from taskgate.model.paths import plain_path
from taskgate.protocols.ssh.shell import quote


@dataclass(frozen=True, slots=True)
class Place:
    """`folder` is absolute and free of symbolic links, as the host said; `home` the one that the
    shell began in. `variables` are exported. `status` is `$?`, None where that is not known."""

    folder: str
    home: str
    variables: tuple[tuple[str, str], ...] = ()
    status: int | None = None

    def actions(self) -> tuple[Action, ...]:
        """What it takes to be here: judged with every line, as the same words in a command are.
        To be where the shell began takes nothing."""
        entered = () if self.folder == self.home else (entering(self.folder),)
        return entered + tuple(setting(name) for name, _ in self.variables)

    def lead(self) -> str:
        """What the host's shell reads before a line. Should the folder have become another one, or
        have gone, nothing of the line runs."""
        there = quote(self.folder)
        lines = [
            f"cd -P -- {there} && test \"$PWD\" = {there} || {{ echo 'the folder has changed:'"
            f" {there} >&2; exit 126; }}\n"
        ]
        if self.variables:
            told = " ".join(f"{name}={quote(value)}" for name, value in self.variables)
            lines.append(f"export {told} || exit 126\n")
        return "".join(lines)

    def whole(self, path: str) -> str:
        """A path as seen from here; a `..` in it stays."""
        if not path.startswith("/"):
            path = f"{self.folder}/{path}"
        try:
            return plain_path(path)
        except ValueError:
            return path

    def seen_from_here(self, action: Action) -> Action | None:
        """The same command with its operands as whole paths, for denials and holds: `cat shadow` in
        /etc is `cat /etc/shadow` too. None where that says nothing new."""
        name, *rest = split_argv(action.object)
        whole = [name, *map(self._operand, rest)]
        spelled = spell_argv(whole)
        if spelled == action.object:
            return None
        return Action("run", spelled, "command", write=True, via=action.object)

    def _operand(self, word: str | None) -> str | None:
        if not word or word.startswith("-"):
            return word
        # POSIX lets two slashes at the front mean something else; no host does.
        return "/" + posixpath.normpath(posixpath.join(self.folder, word)).lstrip("/")


def entering(folder: str) -> Action:
    """`cd`, as a command that is judged."""
    way_out = ".." in folder.split("/")
    words = ("cd", Guarded(folder) if way_out else folder)
    return Action("run", spell_argv(words), "command", write=True)


def setting(name: str) -> Action:
    return Action("env", name, "variable", write=True)


def question(folder: str, start: str) -> str:
    """The command that asks the host where `cd folder` leads from `start`; empty is home. The
    answer stands between two zero bytes, whatever else the host's shell says."""
    begin = f"cd -P -- {quote(start)} && " if start else ""
    go = f"cd -P -- {quote(folder)} && " if folder else "cd -P . && "
    return begin + go + "printf '\\000%s\\000' \"$PWD\""


def answered(output: bytes) -> str | None:
    """The folder in the host's answer to `question`; None where there is none.

    Raises: ValueError for one that is no plain UTF-8 path.
    """
    parts = output.split(b"\0")
    if len(parts) < 3:
        return None
    return plain_path(parts[-2].decode())
