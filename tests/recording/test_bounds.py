"""Whatever an event holds, its line fits, reads back, and says what was cut."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskgate.model import limits
from taskgate.model.errors import NotRecorded
from taskgate.model.event import Event, EventKind
from taskgate.recording.bounds import cut_text, fit_facts
from taskgate.recording.format import Entry
from taskgate.recording.reader import read_recording

from .build import KEY, TUESDAY, info, journal

ROOM = limits.MAX_EVENT_BYTES


@pytest.mark.cap("MAX_RECORDED_TEXT_BYTES")
def test_a_long_statement_is_cut_with_its_length_and_hash() -> None:
    text = "SELECT '" + "ä" * limits.MAX_RECORDED_TEXT_BYTES + "'"
    facts = fit_facts(EventKind.REQUEST_PERMITTED, {"text": text}, ROOM)
    assert len(facts["text"].encode()) <= limits.MAX_RECORDED_TEXT_BYTES
    assert text.startswith(facts["text"])
    whole = text.encode()
    assert facts["cut"]["text"] == {
        "bytes": len(whole),
        "sha256": hashlib.sha256(whole).hexdigest(),
    }


@pytest.mark.cap("MAX_RECORDED_PARAMETER_BYTES")
def test_a_long_parameter_is_cut_alone() -> None:
    facts = fit_facts(
        EventKind.REQUEST_PERMITTED, {"parameters": ("short", "x" * 5000, None)}, ROOM
    )
    assert facts["parameters"][0] == "short"
    assert facts["parameters"][1] == "x" * limits.MAX_RECORDED_PARAMETER_BYTES
    assert facts["parameters"][2] is None
    assert facts["cut"]["parameters[1]"]["bytes"] == 5000


def test_many_parameters_lose_their_end_and_say_how_many() -> None:
    parameters = [f"{number:04}" + "x" * 4000 for number in range(1000)]
    facts = fit_facts(EventKind.REQUEST_PERMITTED, {"text": "q", "parameters": parameters}, ROOM)
    kept = facts["parameters"]
    assert facts["text"] == "q"
    assert kept == parameters[: len(kept)]
    assert 200 < len(kept) < 300
    note = facts["cut"]["parameters"]
    assert (note["items"], note["kept"]) == (1000, len(kept))
    assert (
        note["sha256"]
        == hashlib.sha256(json.dumps(parameters, separators=(",", ":")).encode()).hexdigest()
    )
    assert len(json.dumps(facts, separators=(",", ":"))) <= ROOM


@pytest.mark.parametrize("kind", [EventKind.REQUEST_PERMITTED, EventKind.REQUEST_HELD])
def test_a_request_that_runs_is_never_recorded_without_what_it_touches(kind: EventKind) -> None:
    actions = [{"verb": "select", "object": f"s.t{n}", "kind": "table"} for n in range(30_000)]
    with pytest.raises(NotRecorded, match="more than one event can record"):
        fit_facts(kind, {"text": "q", "actions": actions}, ROOM)


def test_a_refused_request_is_recorded_with_the_beginning_of_what_it_touches() -> None:
    actions = [{"verb": "select", "object": f"s.t{n}", "kind": "table"} for n in range(30_000)]
    facts = fit_facts(EventKind.REQUEST_DENIED, {"text": "q", "actions": actions}, ROOM)
    assert facts["actions"] == actions[: len(facts["actions"])]
    assert facts["cut"]["actions"]["items"] == 30_000


@pytest.mark.parametrize("value", [object(), {1, 2j}, [object()]])
def test_what_is_no_json_is_not_recorded(value: Any) -> None:
    with pytest.raises(NotRecorded):
        fit_facts(EventKind.LOGIN, {"value": value}, ROOM)


def test_a_text_is_cut_between_characters() -> None:
    assert cut_text("aäöü", 4) == "aä"
    assert cut_text("short", 100) == "short"


def test_nesting_is_bounded() -> None:
    value: Any = "x"
    for _ in range(100):
        value = [value]
    with pytest.raises(NotRecorded):
        fit_facts(EventKind.LOGIN, {"value": value}, ROOM)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None, exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds=st.lists(st.sampled_from(list(EventKind)), min_size=1, max_size=4),
    facts=st.dictionaries(st.text(st.characters(codec=None, exclude_categories=[])), JSON),
    at=st.floats(allow_nan=False, allow_infinity=False),
)
def test_every_event_reads_back_as_it_was_appended(
    tmp_path_factory: pytest.TempPathFactory,
    kinds: list[EventKind],
    facts: dict[str, Any],
    at: float,
) -> None:
    directory = tmp_path_factory.mktemp("audit")
    log = journal(directory, key=KEY)
    recording = log.open(info("s1"))
    for kind in kinds:
        recording.append(Event(kind, at, facts))
    recording.flush()
    read = _read(directory)
    assert [(entry.kind, entry.at) for entry in read[1:]] == [(kind.value, at) for kind in kinds]
    for entry in read[1:]:
        assert _same(entry.facts, facts), (entry.facts, facts)
    log.close(TUESDAY)


def _read(directory: Path) -> list[Entry]:
    return list(read_recording(directory / "open" / "s1.tgr"))


def _same(read: Any, wrote: Any) -> bool:
    if isinstance(wrote, str):
        return bool(read == wrote.encode("utf-8", "backslashreplace").decode())
    if isinstance(wrote, dict):
        # Two names may differ in surrogates only, and become one: the later counts.
        names = {key.encode("utf-8", "backslashreplace").decode(): wrote[key] for key in wrote}
        return read.keys() == names.keys() and all(_same(read[k], names[k]) for k in names)
    if isinstance(wrote, list):
        return len(read) == len(wrote) and all(map(_same, read, wrote))
    if isinstance(wrote, float):
        return math.isclose(read, wrote, rel_tol=0) or (read, wrote) == (0, 0)
    return bool(read == wrote)


@pytest.mark.cap("MAX_EVENT_BYTES")
@settings(max_examples=20, deadline=None)
@given(size=st.integers(limits.MAX_RECORDED_TEXT_BYTES - 2, limits.MAX_EVENT_BYTES * 3))
def test_no_line_is_ever_over_the_cap(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    directory = tmp_path_factory.mktemp("audit")
    log = journal(directory)
    recording = log.open(info("s1"))
    # A quote takes two bytes in JSON, a control character six.
    facts = {"text": "\x01" * size, "parameters": ['"' * 4096] * (size // 4096), "x": "y" * size}
    recording.append(Event(EventKind.REQUEST_PERMITTED, TUESDAY, facts))
    recording.flush()
    lines = (directory / "open" / "s1.tgr").read_bytes().split(b"\n")
    assert max(map(len, lines)) < limits.MAX_EVENT_BYTES
    assert len(_read(directory)) == 2
    log.close(TUESDAY)
