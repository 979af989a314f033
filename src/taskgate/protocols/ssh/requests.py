"""What a channel asks for, as a request that is judged."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from taskgate.model.action import Action, Request
from taskgate.model.argv import split_argv
from taskgate.model.errors import Denied, Unreadable
from taskgate.protocols.ssh.commands import Command, read_command
from taskgate.protocols.ssh.conversation import Asked
from taskgate.protocols.ssh.place import Place
from taskgate.protocols.ssh.programs import base_name

SFTP: Final = "sftp"
FILE_VERBS: Final = ("read", "write", "list", "remove", "rename", "link", "attributes")


# What a task permits as a whole, because nothing of it is judged: a shell at the host and any
# command. `gated` is a shell whose lines the gate judges.
OPEN: Final = "open"
GATED: Final = "gated"


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A command and all that goes with it. `left_out` names the variables that no rule permits:
    clients send some unasked (`LANG`), so the command runs without them. `sent` is what the host
    is given, None for a shell. `tier` is `open` or `gated` where the task permits that as a whole,
    and empty where each part was judged. `also` are
    the same commands by other names, where those are known: a deny or a hold of them counts."""

    request: Request
    sent: str | None
    environment: dict[str, str]
    left_out: tuple[str, ...]
    tier: str = ""
    also: tuple[Action, ...] = ()


def exec_request(asked: Asked, resource: str, permits: Callable[[Action], bool]) -> ExecRequest:
    """The request that `asked` comes to at `resource`; `permits` says of one action by itself
    whether a rule lets it pass.

    Raises: Denied for what has no verb yet, Unreadable.
    """
    place = asked.place
    command = read_command(_command(asked), place)
    kept, left_out = _variables(asked, permits)
    there, also = ((), ()) if place is None else (place.actions(), _from(place, command))
    actions = (*there, *command.actions, *_settings(kept), *_terminal(asked, command))
    actions = (*actions, *_lent(asked, resource))
    request = command.request(resource, actions, _around(asked, kept))
    return ExecRequest(request, command.sent, kept, left_out, also=also)


def _from(place: Place, command: Command) -> tuple[Action, ...]:
    runs = [action for action in command.actions if action.verb == "run"]
    seen = [place.seen_from_here(action) for action in runs]
    return tuple(action for action in seen if action is not None)


def open_request(asked: Asked, resource: str, permits: Callable[[Action], bool]) -> ExecRequest:
    """The same where the task permits `open`: the command runs as it is. What can be seen of it is
    advisory (`via: open`): it needs no permit, and a deny or a hold of it counts.

    Raises: Denied, Unreadable.
    """
    read = read_command(_command(asked))
    kept, left_out = _variables(asked, permits)
    seen = (*read.actions, *_terminal(asked, read))
    actions = (shell_tier(OPEN), *advisory(seen), *_settings(kept), *_lent(asked, resource))
    command = Command(read.text, read.text, actions)
    request = command.request(resource, actions, (*_around(asked, kept), OPEN))
    return ExecRequest(request, command.sent, kept, left_out, OPEN)


def shell_request(
    asked: Asked, tier: str, resource: str, permits: Callable[[Action], bool]
) -> ExecRequest:
    """A shell of that tier."""
    kept, left_out = _variables(asked, permits)
    actions = (shell_tier(tier), *_settings(kept), *_lent(asked, resource))
    command = Command(f"shell ({tier})", "", actions)
    request = command.request(resource, actions, (*_around(asked, kept), f"shell {tier}"))
    return ExecRequest(request, None, kept, left_out, tier)


def advisory(seen: tuple[Action, ...]) -> tuple[Action, ...]:
    """What can be seen of something that the tier `open` lets run as it is."""
    return tuple(action if action.via else replace(action, via=OPEN) for action in seen)


def shell_tier(tier: str) -> Action:
    return Action("shell", tier, "tier", write=True)


def _command(asked: Asked) -> str:
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
    return asked.command


def terminal_actions(text: str, place: Place) -> tuple[Action, ...]:
    """What a line needs to have a terminal; nothing for one that cannot be read."""
    try:
        return _terminals(read_command(text, place))
    except Unreadable:
        return ()


def is_old_scp(request: ExecRequest) -> bool:
    """Whether it is the far end of scp's protocol before SFTP: `scp -t PATH`, `scp -f PATH`."""
    runs = [action for action in request.request.actions if action.verb == "run"]
    words = split_argv(runs[0].object) if runs else ()
    return bool(words) and words[0] == "scp" and ("-t" in words or "-f" in words)


def _variables(
    asked: Asked, permits: Callable[[Action], bool]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Those that are set at the host, and the names of those that are left out."""
    kept = {
        name: value
        for name, value in asked.environment.items()
        if _is_name(name) and _is_plain(value) and permits(_setting(name))
    }
    return kept, tuple(name for name in asked.environment if name not in kept)


def _setting(name: str) -> Action:
    return Action("env", name, "variable", write=True)


def _settings(kept: dict[str, str]) -> tuple[Action, ...]:
    return tuple(_setting(name) for name in kept)


def _around(asked: Asked, kept: dict[str, str]) -> tuple[str, ...]:
    """What an approval is bound to beside the text."""
    bound = tuple(f"{name}={value}" for name, value in sorted(kept.items()))
    with_it = (
        ("terminal", asked.terminal is not None),
        ("agent", asked.agent),
        ("x11", asked.x11 is not None),
    )
    return (*bound, *(name for name, there in with_it if there))


def _lent(asked: Asked, resource: str) -> tuple[Action, ...]:
    """What the client lends to the host while its request runs there."""
    lent = {"agent": asked.agent, "x11": asked.x11 is not None}
    return tuple(lent_action(verb, resource) for verb, is_lent in lent.items() if is_lent)


def lent_action(verb: str, resource: str) -> Action:
    return Action(verb, resource, "resource", write=True)


def _terminal(asked: Asked, command: Command) -> tuple[Action, ...]:
    return _terminals(command) if asked.terminal is not None else ()


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
