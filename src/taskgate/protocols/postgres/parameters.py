"""Bound parameters in a form that people read: in approvals and in recordings."""

from taskgate.model.limits import MAX_RECORDED_PARAMETER_BYTES
from taskgate.protocols.postgres.messages import Bind

_BINARY = 1


def readable_parameters(message: Bind) -> tuple[str | None, ...]:
    """Text parameters as they are, binary ones as `\\x` and hex; None is NULL.

    A value longer than MAX_RECORDED_PARAMETER_BYTES is cut, and says so with its length.
    """
    formats = message.parameter_formats
    if not message.parameters:
        return ()
    if len(formats) == 1:
        formats = formats * len(message.parameters)
    elif not formats:
        formats = (0,) * len(message.parameters)
    return tuple(
        None if value is None else _readable(value, code)
        for value, code in zip(message.parameters, formats, strict=True)
    )


def _readable(value: bytes, code: int) -> str:
    shown = value[:MAX_RECORDED_PARAMETER_BYTES]
    text = f"\\x{shown.hex()}" if code == _BINARY else shown.decode("utf-8", "replace")
    if len(value) > len(shown):
        return f"{text}... ({len(value)} bytes)"
    return text
