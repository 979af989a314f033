"""What a channel asks for, as a request that is judged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from taskgate.model.action import Action, Request
from taskgate.model.argv import split_argv
from taskgate.model.errors import Denied
from taskgate.protocols.ssh.commands import Command, read_command
from taskgate.protocols.ssh.conversation import Asked
from taskgate.protocols.ssh.programs import base_name

SFTP: Final = "sftp"
FILE_VERBS: Final = ("read", "write", "list", "remove", "rename", "link", "attributes")


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A command and all that goes with it. `left_out` names the variables that no rule permits:
    clients send some unasked (`LANG`), so the command runs without them."""

    request: Request
    command: Command
    environment: dict[str, str]
    left_out: tuple[str, ...]


def exec_request(asked: Asked, resource: str, permits: Callable[[Action], bool]) -> ExecRequest:
    """The request that `asked` comes to at `resource`; `permits` says of one action by itself
    whether a rule lets it pass.

    Raises: Denied for what has no verb yet, Unreadable.
    """
    if asked.subsystem == SFTP:
        raise Denied(
            "SFTP: no rule of this task is about files",
            rule="unknown is refused",
            hint="a task permits read, write, list ... by path",
        )
    if asked.subsystem is not None:
        raise Denied(
            f"the subsystem {asked.subsystem[:40]}: nothing permits it",
            rule="unknown is refused",
            hint="give a command: ssh TASK@gate 'COMMAND'",
        )
    if asked.command is None:
        raise Denied(
            "a shell: nothing permits it",
            rule="unknown is refused",
            hint="give a command: ssh TASK@gate 'COMMAND'",
        )
    command = read_command(asked.command)
    kept: dict[str, str] = {}
    left_out: list[str] = []
    settings: list[Action] = []
    for name, value in asked.environment.items():
        action = Action("env", name, "variable", write=True)
        if _is_name(name) and _is_plain(value) and permits(action):
            kept[name] = value
            settings.append(action)
        else:
            left_out.append(name)
    actions = (*command.actions, *settings)
    bound = [f"{name}={value}" for name, value in sorted(kept.items())]
    if asked.terminal is not None:
        actions = (*actions, *_terminals(command))
        bound.append("terminal")
    request = command.request(resource, actions, tuple(bound))
    return ExecRequest(request, command, kept, tuple(left_out))


def _terminals(command: Command) -> tuple[Action, ...]:
    """A terminal for everything that the line runs: whatever of it reads keys gets them."""
    names: dict[str, None] = {}
    for action in command.actions:
        if action.verb == "run" and not action.via:
            name = split_argv(action.object)[0]
            names[base_name(name) if name else "sh"] = None
        elif action.verb == "script":
            names["sh"] = None
    return tuple(Action("terminal", name, "program", write=True) for name in names)


def _is_name(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def _is_plain(value: str) -> bool:
    return "\0" not in value and value.isprintable()
