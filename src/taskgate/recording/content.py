"""Bytes as the facts of an event: as `text` where they are UTF-8, else as `base64`."""

import base64
import binascii
from typing import Any


def content_facts(data: bytes) -> dict[str, Any]:
    """They read back to the same bytes. Zero bytes, which JSON writes as six, are no text."""
    if b"\0" not in data:
        try:
            return {"text": data.decode()}
        except UnicodeDecodeError:
            pass
    return {"base64": base64.b64encode(data).decode()}


def content_of(facts: dict[str, Any]) -> bytes:
    """The bytes; none where there are none."""
    text, coded = facts.get("text"), facts.get("base64")
    if isinstance(text, str):
        return text.encode("utf-8", "replace")
    try:
        return base64.b64decode(coded) if isinstance(coded, str) else b""
    except binascii.Error:
        return b""
