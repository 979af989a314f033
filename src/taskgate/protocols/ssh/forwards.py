"""Connections through a host, as requests that are judged: by the host and port that are sent on,
exactly as they are sent on."""

import ipaddress
from typing import Final

from taskgate.model.action import Action, Request
from taskgate.model.decision import Decision
from taskgate.model.endpoints import plain_host, spell_endpoint
from taskgate.model.errors import Unreadable
from taskgate.model.paths import split_path
from taskgate.protocols.ssh.bound import bound_request
from taskgate.protocols.ssh.conversation import Endpoint, Target
from taskgate.protocols.ssh.unmasked import refused_where_masked

FORWARD_VERBS: Final = ("forward", "listen", "socket")
# Each leads to the host itself; a deny or hold of one counts for the others (RFC 6761, 6.3).
_HERE: Final = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - names, nothing listens there
_LOCAL_NAMES: Final = frozenset(
    {"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost",
     "ip6-loopback"}
)  # fmt: skip


def connect_request(wanted: Target, resource: str) -> tuple[Request, Target]:
    """A connection that the host is to make: what is judged, and what is sent to the host.

    Raises: Unreadable.
    """
    if isinstance(wanted, str):
        return _socket_request(wanted, resource)
    try:
        host = plain_host(wanted.host)
        actions = _actions("forward", host, wanted.port)
    except ValueError as error:
        raise _unreadable(wanted, error) from None
    made = _request(f"forwarding to {actions[0].object}", actions, resource)
    return made, Endpoint(host, wanted.port)


def listen_request(wanted: Endpoint, resource: str) -> tuple[Request, Endpoint]:
    """A port that the host is to listen on; 0 lets it pick one (RFC 4254, section 7.1). What is
    judged, and what is sent to the host.

    Raises: Unreadable.
    """
    try:
        everywhere = wanted.host in ("", "*")
        host = _EVERYWHERE[0] if everywhere else plain_host(wanted.host)
        actions = _actions("listen", host, wanted.port, any_port=True)
    except ValueError as error:
        raise _unreadable(wanted, error) from None
    made = _request(f"listening on {actions[0].object} for the client", actions, resource)
    return made, Endpoint("" if everywhere else host, wanted.port)


def unless_masked(decision: Decision) -> Decision:
    """What passes through a connection or shows in a window is not read, so nothing is masked in
    it. An agent's use shows the client nothing."""
    return refused_where_masked(
        decision,
        "what passes through a connection is not read",
        "ask for it by a command; or the task's author lets it pass",
    )


def _socket_request(path: str, resource: str) -> tuple[Request, Target]:
    try:
        split_path(path)
    except ValueError:
        raise Unreadable(
            "a socket's path that is not absolute and plain",
            hint="write it whole, without . or .. in it",
        ) from None
    action = Action("socket", path, "path", write=True)
    return _request(f"forwarding to the socket {path}", (action,), resource), path


def _actions(verb: str, host: str, port: int, *, any_port: bool = False) -> tuple[Action, ...]:
    """What is named, and what else it comes to."""
    named = spell_endpoint(host, port, any_port=any_port)
    found = [Action(verb, named, "endpoint", write=True)]
    for other in _same(host):
        if other != host:
            spelled = spell_endpoint(other, port, any_port=any_port)
            found.append(Action(verb, spelled, "endpoint", write=True, via=named))
    return tuple(found)


def _same(host: str) -> tuple[str, ...]:
    if host in _LOCAL_NAMES or host.endswith(".localhost"):
        return _HERE
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ()
    if address.is_unspecified:
        return (*_EVERYWHERE, *_HERE)
    return _HERE if address.is_loopback else ()


def _request(text: str, actions: tuple[Action, ...], resource: str) -> Request:
    return bound_request(text, actions, resource, ("ssh forward 1", text))


def _unreadable(wanted: Endpoint, error: ValueError) -> Unreadable:
    return Unreadable(
        f"forwarding to {wanted.host[:100]}:{wanted.port}: {error}",
        hint="write the host as the task's rules do: a name, or a plain address",
    )
