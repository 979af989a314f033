"""Facts that fit into one line: what is too long is cut, its length and SHA-256 kept.

The hash lets an auditor show later that a given statement or value is the one that ran. What was
cut is listed under the fact `cut`: {path: {"bytes", "sha256"}}, and for a list that lost its end
also "items" and "kept". Bytes and hash are over UTF-8 for a text, over JSON for anything else.
"""

import hashlib
from typing import Any

import msgspec

from taskgate.model import limits
from taskgate.model.errors import NotRecorded
from taskgate.model.event import EventKind
from taskgate.recording.format import encode_json

# Facts no larger than this hold no string that any cap below could cut.
ALWAYS_FITS_BYTES = limits.MAX_RECORDED_PARAMETER_BYTES
_MAX_DEPTH = 32
# For `cut` itself, beside the other facts.
_MAX_NOTED = 1_000
# What a request touches is what search and audit stand on: a request that is about to run is
# refused rather than recorded without it.
_NEVER_CUT = {
    EventKind.REQUEST_PERMITTED: frozenset({"actions"}),
    EventKind.REQUEST_HELD: frozenset({"actions"}),
}

_Cut = dict[str, dict[str, Any]]


def fit_facts(kind: str, facts: dict[str, Any], room_bytes: int) -> dict[str, Any]:
    """The facts, cut so that their JSON is at most `room_bytes`; lone surrogates, which UTF-8
    cannot carry, become `\\udcxx` in text.

    Raises:
        NotRecorded: they cannot be encoded, or what must not be cut does not fit.
    """
    cut: _Cut = {}
    fitted: dict[str, Any] = {}
    for name, value in facts.items():
        name = _clean(name)  # noqa: PLW2901 - the name as it can be written
        cap = (
            limits.MAX_RECORDED_PARAMETER_BYTES
            if name == "parameters"
            else limits.MAX_RECORDED_TEXT_BYTES
        )
        fitted[name] = _shorten(value, name, cap, cut, 0)
    never = _NEVER_CUT.get(EventKind(kind), frozenset()) if kind in set(EventKind) else frozenset()
    while len(encoded := _encode(_with_cut(fitted, cut))) > room_bytes:
        sizes = {
            name: len(_encode(value))
            for name, value in fitted.items()
            if name not in never and value is not None
        }
        if not sizes:
            raise NotRecorded(
                "the request touches more than one event can record",
                hint=f"an event is at most {limits.MAX_EVENT_BYTES} bytes: split the request",
            )
        largest = max(sizes, key=lambda name: sizes[name])
        spare = room_bytes - (len(encoded) - sizes[largest])
        fitted[largest] = _drop_end(fitted[largest], largest, spare - 512, cut)
    return _with_cut(fitted, cut)


def cut_text(text: str, max_bytes: int) -> str:
    """The longest beginning of the text whose UTF-8 is at most `max_bytes`."""
    if len(text) * 4 <= max_bytes:
        return text
    return text.encode("utf-8", "backslashreplace")[:max_bytes].decode("utf-8", "ignore")


def _with_cut(facts: dict[str, Any], cut: _Cut) -> dict[str, Any]:
    if not cut:
        return facts
    noted = dict(list(cut.items())[:_MAX_NOTED])
    if len(cut) > _MAX_NOTED:
        noted["..."] = {"items": len(cut), "kept": _MAX_NOTED}
    return {**facts, "cut": noted}


def _shorten(value: Any, path: str, cap: int, cut: _Cut, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise NotRecorded("the event's facts are nested too deeply to be recorded")
    if isinstance(value, str):
        value = _clean(value)
        if len(value) * 4 <= cap or len(encoded := value.encode()) <= cap:
            return value
        cut[path] = {"bytes": len(encoded), "sha256": hashlib.sha256(encoded).hexdigest()}
        return encoded[:cap].decode("utf-8", "ignore")
    if isinstance(value, (list, tuple)):
        return [_shorten(v, f"{path}[{i}]", cap, cut, depth + 1) for i, v in enumerate(value)]
    if isinstance(value, dict):
        return {
            cut_text(_clean(str(k)), 1_024): _shorten(v, f"{path}.{k}"[:200], cap, cut, depth + 1)
            for k, v in value.items()
        }
    return value


def _drop_end(value: Any, name: str, spare: int, cut: _Cut) -> Any:
    """A list keeps the items that fit into `spare` bytes; anything else is dropped whole."""
    encoded = _encode(value)
    note: dict[str, Any] = {
        "bytes": len(encoded),
        "sha256": hashlib.sha256(encoded).hexdigest(),
    }
    # A second cut of the same fact keeps what the first one noted: that was the whole.
    kept_note = cut.get(name, note)
    if not isinstance(value, list) or not value or spare <= 2:
        cut[name] = kept_note
        return None
    kept: list[Any] = []
    used = 2
    for item in value:
        used += len(_encode(item)) + 1
        if used > spare:
            break
        kept.append(item)
    cut[name] = {**kept_note, "items": kept_note.get("items", len(value)), "kept": len(kept)}
    return kept or None


def _clean(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _encode(value: Any) -> bytes:
    try:
        return encode_json(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise NotRecorded(f"the event's facts are no JSON: {error}") from error
