"""A command line to Actions, and to the text that is sent to the host.

What can be told beforehand comes to `run` actions, one for each simple command wherever it stands,
to `read` and `write` for redirections and `env` for variables; and is written anew for the host.
The rest comes to one `script` action and is sent as it came.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from taskgate.model.action import Action, Request
from taskgate.model.argv import spell_argv
from taskgate.model.errors import Unreadable
from taskgate.model.limits import MAX_COMMAND_DEPTH
from taskgate.protocols.ssh.bound import bound_request
from taskgate.protocols.ssh.place import Place
from taskgate.protocols.ssh.programs import Program, Words, base_name, read_program
from taskgate.protocols.ssh.reading import Dynamic, find_commands, read_line
from taskgate.protocols.ssh.shell import FileRedirect, Group, Line, Simple, Stage, write_line
from taskgate.protocols.ssh.transfers import read_transfer

_NOWHERE = "/dev/null"
MAX_ACTIONS = 1_000
_MOVING = frozenset({"cd", "pushd", "popd", "eval", "source", "."})


@dataclass(frozen=True, slots=True)
class Command:
    """One command line. `sent` is what the host's shell is given; `why` says, for a script, what
    keeps its commands from being told."""

    text: str
    sent: str
    actions: tuple[Action, ...]
    why: str = ""

    def request(
        self, resource: str, actions: tuple[Action, ...], around: tuple[str, ...]
    ) -> Request:
        """As it is judged at `resource`: with all `actions` that go with it. `around` are the
        variables it runs with and whether it has a terminal: an approval is bound to them too."""
        return bound_request(self.text, actions, resource, ("ssh command 1", self.sent), around)


def read_command(text: str, place: Place | None = None) -> Command:
    """The command that `text` is; with a `place`, as a line of a shell that stands there.

    Raises: Unreadable.
    """
    lead = place.lead() if place is not None else ""
    try:
        line = read_line(text, place=place)
        if place is not None:
            line = read_line(text, place=_known_throughout(line, place))
        actions = tuple(_bounded(_line(line, "", 0)))
    except Dynamic as dynamic:
        script = _script(text, dynamic)
        return replace(script, sent=lead + script.sent)
    return Command(text, lead + write_line(line), actions)


def _known_throughout(line: Line, place: Place) -> Place | None:
    """What of `place` counts for every command of the line: the folder until a command may change
    it, the status for the first alone."""
    commands = list(_simples(line))
    if any(word.text in _MOVING for command in commands for word in command.words):
        return None
    return place if len(commands) == 1 else replace(place, status=None)


def _simples(line: Line) -> Iterator[Simple]:
    """Every simple command in it, wherever it stands."""
    for _, pipeline in line.items:
        for stage in pipeline.stages:
            if isinstance(stage, Group):
                yield from _simples(stage.line)
                continue
            yield stage
            for word in (*stage.words, *(value for _, value in stage.settings)):
                for inner in word.lines():
                    yield from _simples(inner)


def tier(name: str) -> Action:
    """What a task must permit as a whole, because its parts cannot be told."""
    return Action("script", name, "tier", write=True)


def _script(text: str, dynamic: Dynamic) -> Command:
    actions = [tier(dynamic.tier)]
    for words in find_commands(text):
        program = read_program(words)
        run = _run(program.words, dynamic.tier)
        actions += [run, *_within(program, run.object, 0)]
    return Command(text, text, tuple(_bounded(iter(actions))), dynamic.why)


def _bounded(actions: Iterator[Action]) -> Iterator[Action]:
    for number, action in enumerate(actions):
        if number >= MAX_ACTIONS:
            raise Unreadable(f"the command does more than {MAX_ACTIONS} things")
        yield action


def _line(line: Line, via: str, depth: int) -> Iterator[Action]:
    for _, pipeline in line.items:
        for stage in pipeline.stages:
            yield from _stage(stage, via, depth)


def _stage(stage: Stage, via: str, depth: int) -> Iterator[Action]:
    if isinstance(stage, Group):
        yield from _line(stage.line, via, depth)
    else:
        yield from _simple(stage, via, depth)
    for redirect in stage.redirects:
        if isinstance(redirect, FileRedirect) and redirect.path != _NOWHERE:
            reads = redirect.operator == "<"
            verb = "read" if reads else "write"
            yield Action(verb, redirect.path, "path", write=not reads, via=via)


def _simple(command: Simple, via: str, depth: int) -> Iterator[Action]:
    for name, value in command.settings:
        yield Action("env", name, "variable", write=True, via=via)
        for line in value.lines():
            yield from _line(line, via, depth)
    for word in command.words:
        for line in word.lines():
            yield from _line(line, via, depth)
    words = tuple(word.text for word in command.words)
    program = read_program(words)
    if program.unsure:
        raise Dynamic("expansion", "what a command is to run is the output of another")
    run = _run(program.words, via)
    yield run
    yield from _within(program, run.object, depth)


def _run(words: Words, via: str) -> Action:
    return Action("run", spell_argv(words), "command", write=True, via=via)


def _within(program: Program, outer: str, depth: int) -> Iterator[Action]:
    """What the command is known to run or reach, and its plain name: a deny counts for them."""
    first = program.words[0]
    if first is not None and "/" in first:
        yield _run((base_name(first), *program.words[1:]), outer)
    yield from _reached(program.words, outer)
    for words in program.inner:
        if not words:
            continue
        yield from _reached(words, outer)
        yield _run(words, outer)
        if words[0] is not None and "/" in words[0]:
            yield _run((base_name(words[0]), *words[1:]), outer)
    for code in program.code:
        if depth >= MAX_COMMAND_DEPTH:
            raise Unreadable("shell text in shell text, too deep")
        try:
            line = read_line(code, depth + 1)
        except (Dynamic, Unreadable):
            continue  # permitted only where a rule spells the text out
        yield from _line(line, outer, depth + 1)


def _reached(words: Words, outer: str) -> Iterator[Action]:
    transfer = read_transfer(words)
    for verb, path in transfer.effects if transfer is not None else ():
        yield Action(verb, path, "tree", write=verb != "read", via=outer)
