"""Shell text to a `Line`, by the grammar of tree-sitter-bash; or why it cannot be one.

Only what is listed here is understood. Everything else that a shell knows (variables, wildcards,
loops, functions ...) is left to the `script` rules, whatever it may mean. The grammar is not
trusted to see all: what goes to the host is written anew from what was read (`shell.write_line`).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from taskgate.model.errors import Unreadable
from taskgate.model.limits import MAX_COMMAND_BYTES, MAX_COMMAND_DEPTH
from taskgate.model.paths import plain_path
from taskgate.protocols.ssh.place import Place
from taskgate.protocols.ssh.shell import (
    DuplicateRedirect,
    FileRedirect,
    Group,
    Line,
    Pipeline,
    Redirect,
    Simple,
    Stage,
    Word,
)
from taskgate.protocols.ssh.shell_words import Piece, double_quoted, only_text, plain_word

_PARSER: Final = Parser(Language(tree_sitter_bash.language()))
_WRITES: Final = {">": ">", ">|": ">", ">>": ">>"}


class Dynamic(Exception):
    """A shell could read this, and what it would do cannot be told beforehand. `tier` is the
    object of the `script` action it comes to; `why` a few words for people."""

    def __init__(self, tier: str, why: str) -> None:
        super().__init__(why)
        self.tier = tier
        self.why = why


def read_line(text: str, depth: int = 0, place: Place | None = None) -> Line:
    """The line that `text` is. With a `place`, relative paths of programs and of redirections are
    made whole, and `$?` is known.

    Raises: Dynamic; Unreadable where it is no shell text, or too long or too deep.
    """
    raw = text.encode()
    if len(raw) > MAX_COMMAND_BYTES:
        raise Unreadable(f"the command is longer than {MAX_COMMAND_BYTES} bytes")
    if any(c < " " and c not in "\n\t" for c in text) or "\x7f" in text:
        raise Unreadable("the command has control characters in it")
    root = _PARSER.parse(raw).root_node
    if root.has_error:
        raise Unreadable("the command cannot be read as shell text")
    return _Reader(raw, place).line(root, depth)


def is_whole(text: str) -> bool:
    """Whether the grammar makes something of all of `text`."""
    return not _PARSER.parse(text.encode()).root_node.has_error


def find_commands(text: str) -> list[tuple[str | None, ...]]:
    """Every simple command that the grammar sees in a text that is no `Line`, wherever it stands;
    None for each word that only a run can tell. For denials: nothing is permitted by them."""
    raw = text.encode()
    reader = _Reader(raw)
    found: list[tuple[str | None, ...]] = []
    waiting = [_PARSER.parse(raw).root_node]
    while waiting:
        node = waiting.pop()
        waiting += reversed(node.children)
        if node.type in ("command", "declaration_command", "unset_command"):
            found.append(reader.loosely(node))
    return found


def read_declaration(text: str) -> tuple[str, ...] | None:
    """The words of a line that is just `export NAME=VALUE ...` or `unset NAME ...`; None for any
    other line, and where a word has yet to be expanded."""
    raw = text.encode()
    if len(raw) > MAX_COMMAND_BYTES:
        return None
    root = _PARSER.parse(raw).root_node
    if root.has_error or len(root.children) != 1:
        return None
    (node,) = root.children
    if node.type not in ("declaration_command", "unset_command"):
        return None
    try:
        return tuple(_Reader(raw).declared(node))
    except (Dynamic, Unreadable):
        return None


class _Reader:
    def __init__(self, raw: bytes, place: Place | None = None) -> None:
        self._raw = raw
        self._place = place

    def _text(self, node: Node) -> str:
        return self._raw[node.start_byte : node.end_byte].decode()

    def loosely(self, command: Node) -> tuple[str | None, ...]:
        """The words of a command, None for those that are not plain."""
        words: list[str | None] = []
        for child in command.children:
            if child.type == "variable_assignment" or child.type.endswith("_redirect"):
                continue
            node = child.children[0] if child.type == "command_name" else child
            try:
                words.append(self._word(node, 0).text if node.is_named else self._text(node))
            except (Dynamic, Unreadable):
                words.append(None)
        return tuple(words)

    def declared(self, node: Node) -> Iterator[str]:
        yield self._text(node.children[0])
        for child in node.children[1:]:
            if child.type == "variable_assignment":
                name, value = self._setting(child, 0)
                said = value.text
            else:
                name, said = self._text(child), ""
                if child.type not in ("variable_name", "word"):
                    raise Dynamic("expansion", name)
            if said is None:
                raise Dynamic("expansion", name)
            yield f"{name}={said}" if child.type == "variable_assignment" else name

    # Lines and pipelines.

    def line(self, node: Node, depth: int, *around: str) -> Line:
        """The statements below `node`; `around` are its own brackets."""
        if depth > MAX_COMMAND_DEPTH:
            raise Unreadable(f"the command is nested deeper than {MAX_COMMAND_DEPTH} levels")
        items: list[tuple[str, Pipeline]] = []
        for child in node.children:
            if child.type == "comment" or child.type in ("\n", *around):
                continue
            if child.type == ";":
                continue
            if child.type == "&":
                raise Dynamic("control", "a command in the background")
            if not child.is_named:
                raise Unreadable(f"{child.type} has no meaning here")
            items += self._statement(";", child, depth)
        if not items:
            raise Unreadable("there is no command in it")
        return Line(tuple(items))

    def _statement(self, joint: str, node: Node, depth: int) -> list[tuple[str, Pipeline]]:
        if depth > MAX_COMMAND_DEPTH:
            raise Unreadable(f"the command is nested deeper than {MAX_COMMAND_DEPTH} levels")
        if node.type == "list":
            return self._list(joint, node, depth)
        if node.type == "negated_command":
            bang, inner = node.children
            if bang.type != "!" or inner.type == "negated_command":
                raise Dynamic("control", "! before !")
            ((_, pipeline),) = self._one(self._statement(joint, inner, depth + 1))
            return [(joint, replace(pipeline, negated=True))]
        if node.type == "pipeline":
            stages: list[Stage] = []
            for child in node.children:
                if child.type == "|":
                    continue
                if child.type == "|&":
                    raise Dynamic("control", "|& (write 2>&1 |)")
                if child.type == "comment":
                    continue
                stages.append(self._stage(child, depth + 1))
            return [(joint, Pipeline(tuple(stages)))]
        return [(joint, Pipeline((self._stage(node, depth + 1),)))]

    def _list(self, joint: str, node: Node, depth: int) -> list[tuple[str, Pipeline]]:
        """`a && b || c`: the grammar nests them to the left, as deep as there are commands."""
        rest: list[tuple[str, Node]] = []
        while node.type == "list":
            node, operator, right = self._three(node)
            if operator.type not in ("&&", "||"):
                raise Dynamic("control", f"{operator.type} between commands")
            rest.append((operator.type, right))
        items = self._statement(joint, node, depth + 1)
        for operator_text, right in reversed(rest):
            items += self._statement(operator_text, right, depth + 1)
        return items

    def _three(self, node: Node) -> tuple[Node, Node, Node]:
        children = [child for child in node.children if child.type not in ("\n", "comment")]
        if len(children) != 3:
            raise Dynamic("control", "a list that is read in more than one way")
        return children[0], children[1], children[2]

    def _one(self, items: list[tuple[str, Pipeline]]) -> list[tuple[str, Pipeline]]:
        if len(items) != 1 or items[0][1].negated:
            raise Dynamic("control", "! before a list")
        return items

    def _stage(self, node: Node, depth: int) -> Stage:
        match node.type:
            case "command":
                return self._command(node, depth)
            case "redirected_statement":
                return self._redirected(node, depth)
            case "subshell":
                return Group(self.line(node, depth + 1, "(", ")"), subshell=True)
            case "compound_statement" if node.children[0].type == "{":
                return Group(self.line(node, depth + 1, "{", "}"), subshell=False)
            case "variable_assignment" | "variable_assignments":
                raise Dynamic("expansion", "a variable is set for later")
            case other:
                raise Dynamic("control", _said(other))

    def _redirected(self, node: Node, depth: int) -> Stage:
        body: Stage | None = None
        redirects: list[Redirect] = []
        for child in node.children:
            if child.type.endswith("_redirect"):
                redirects += self._redirect(child)
            elif body is None:
                body = self._stage(child, depth + 1)
            else:
                raise Dynamic("control", _said(child.type))
        if body is None:
            raise Dynamic("control", "a redirection without a command")
        return replace(body, redirects=(*body.redirects, *redirects))

    # Commands and words.

    def _command(self, node: Node, depth: int) -> Simple:
        settings: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        for child in node.children:
            if child.type == "variable_assignment":
                settings.append(self._setting(child, depth))
            elif child.type.endswith("_redirect"):
                redirects += self._redirect(child)
            elif child.type == "command_name":
                (name,) = child.children
                words.append(self._word(name, depth))
            elif child.is_named:
                words.append(self._word(child, depth))
            else:
                raise Dynamic("control", _said(child.type))
        if not words:
            raise Dynamic("expansion", "a variable is set for later")
        program = words[0].text
        if self._place is not None and program is not None and "/" in program:
            words[0] = Word((self._place.whole(program),))
        return Simple(tuple(words), tuple(settings), tuple(redirects))

    def _setting(self, node: Node, depth: int) -> tuple[str, Word]:
        name, sign, *value = node.children
        if name.type != "variable_name" or sign.type != "=" or len(value) > 1:
            raise Dynamic("expansion", "a variable that is more than a text")
        word = self._word(value[0], depth) if value else Word(("",))
        return self._text(name), word

    def _word(self, node: Node, depth: int) -> Word:
        pieces = self._pieces(node, depth)
        joined: list[str | Line] = []
        for text, _, line in pieces:
            if line is not None:
                joined.append(line)
            elif joined and isinstance(joined[-1], str):
                joined[-1] += text
            else:
                joined.append(text)
        problem = plain_word(pieces)
        if problem:
            raise Dynamic("expansion", problem)
        return Word(tuple(joined or [""]))

    def _pieces(self, node: Node, depth: int) -> list[Piece]:
        raw = self._text(node)
        match node.type:
            case "word" | "number":
                if node.named_children:
                    raise Dynamic("expansion", raw[:40])
                return only_text(raw)
            case "raw_string":
                return [(raw[1:-1], True, None)]
            case "string":
                return self._string(node, depth)
            case "concatenation":
                at = node.start_byte
                found: list[Piece] = []
                for child in node.children:
                    if child.start_byte != at:
                        raise Dynamic("expansion", raw[:40])
                    found += self._pieces(child, depth)
                    at = child.end_byte
                if at != node.end_byte:
                    raise Dynamic("expansion", raw[:40])
                return found
            case "command_substitution":
                raise Dynamic("expansion", "the output of a command, not in double quotes")
            case "simple_expansion" if (status := self._status(raw)) is not None:
                return [(status, True, None)]
            case _:
                raise Dynamic("expansion", raw[:40])

    def _string(self, node: Node, depth: int) -> list[Piece]:
        found: list[Piece] = []
        at = node.start_byte + 1
        for child in node.named_children:
            if child.type == "string_content":
                continue
            status = self._status(self._text(child))
            if child.type == "simple_expansion" and status is not None:
                found.append(self._between(at, child.start_byte))
                found.append((status, True, None))
                at = child.end_byte
                continue
            if child.type != "command_substitution" or not self._text(child).startswith("$("):
                raise Dynamic("expansion", self._text(child)[:40])
            found.append(self._between(at, child.start_byte))
            found.append(("", True, self.line(child, depth + 1, "$(", ")")))
            at = child.end_byte
        found.append(self._between(at, node.end_byte - 1))
        return found

    def _status(self, raw: str) -> str | None:
        place = self._place
        known = raw == "$?" and place is not None and place.status is not None
        return str(place.status) if known and place is not None else None

    def _between(self, start: int, end: int) -> Piece:
        text = double_quoted(self._raw[start:end].decode())
        if text is None:
            raise Dynamic("expansion", "a $ or ` in double quotes")
        return (text, True, None)

    # Redirections.

    def _redirect(self, node: Node) -> list[Redirect]:
        if node.type != "file_redirect":
            raise Dynamic("input", "text given to a command in the line itself")
        descriptor, operator, target = "", "", None
        for child in node.children:
            if child.type == "file_descriptor":
                descriptor = self._text(child)
            elif not child.is_named:
                operator += child.type
            elif target is None:
                target = child
            else:
                raise Dynamic("control", "a redirection with several targets")
        if len(descriptor) > 1 or (descriptor and not descriptor.isdecimal()):
            raise Dynamic("control", "a redirection of a named descriptor")
        if operator in (">&-", "<&-"):
            return [DuplicateRedirect(descriptor, operator[:2], "-")]
        if target is None:
            raise Dynamic("control", "a redirection to nowhere")
        if operator in (">&", "<&"):
            source = self._text(target)
            if len(source) != 1 or not source.isdecimal():
                raise Dynamic("control", "a redirection of a named descriptor")
            return [DuplicateRedirect(descriptor, operator, source)]
        path = self._path(target)
        if operator == "<":
            return [FileRedirect(descriptor, "<", path)]
        if operator in _WRITES:
            return [FileRedirect(descriptor, _WRITES[operator], path)]
        if operator in ("&>", "&>>") and not descriptor:
            return [
                FileRedirect("", operator[1:], path),
                DuplicateRedirect("2", ">&", "1"),
            ]
        raise Dynamic("control", f"the redirection {operator}")

    def _path(self, node: Node) -> str:
        path = self._word(node, 0).text or ""
        if self._place is not None and path:
            path = self._place.whole(path)
        try:
            return plain_path(path)
        except ValueError:
            raise Dynamic(
                "redirect", "a redirection to a path that is not absolute, or has .. in it"
            ) from None


def _said(node_type: str) -> str:
    return node_type.replace("_", " ")
