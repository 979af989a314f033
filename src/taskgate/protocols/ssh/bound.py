"""Requests that an approval is bound to: to exactly what will run, and where."""

import hashlib

from taskgate.model.action import Action, Request


def bound_request(
    text: str,
    actions: tuple[Action, ...],
    resource: str,
    parts: tuple[str, ...],
    around: tuple[str, ...] = (),
) -> Request:
    """`parts` are what it is made of, the first one its sort; `around` what it runs with: an
    approval is bound to both. At another resource it is another request of the same shape."""
    shape = _digest(*parts, *around)
    return Request(text, actions, _digest(shape, resource), shape, around)


def _digest(*parts: str) -> str:
    """Of the parts, each in its place."""
    found = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        found.update(len(raw).to_bytes(8, "big") + raw)
    return found.hexdigest()
