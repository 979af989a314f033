"""The queue of expected replies."""

import pytest

from taskgate.model.errors import OverLimit
from taskgate.protocols.postgres import pipeline as module
from taskgate.protocols.postgres.pipeline import Expected, Pipeline, Step


def steps(pipeline: Pipeline) -> list[Step]:
    return [expected.step for expected in pipeline]


def test_an_error_fails_everything_up_to_the_next_sync_and_undoes_latest_first() -> None:
    undone: list[str] = []
    pipeline = Pipeline()
    pipeline.push(Expected(Step.PARSE, undo=lambda: undone.append("parse")))
    pipeline.push(Expected(Step.BIND, undo=lambda: undone.append("bind")))
    pipeline.push(Expected(Step.SYNC))
    pipeline.push(Expected(Step.PARSE, undo=lambda: undone.append("next")))
    failed = pipeline.fail()
    assert [e.step for e in failed] == [Step.PARSE, Step.BIND]
    assert undone == ["bind", "parse"]
    assert steps(pipeline) == [Step.SYNC, Step.PARSE]


@pytest.mark.parametrize(
    ("last", "is_open"),
    [(Step.PARSE, True), (Step.EXECUTE, True), (Step.SYNC, False), (Step.QUERY, False)],
)
def test_a_pipeline_is_open_until_its_sync(last: Step, is_open: bool) -> None:
    pipeline = Pipeline()
    pipeline.push(Expected(Step.PARSE))
    pipeline.push(Expected(last))
    assert pipeline.open is is_open
    pipeline.done()
    pipeline.done()
    assert pipeline.open is is_open, "being answered does not close it"


def test_syncs_sent_before_a_copy_ends_are_owed_no_reply() -> None:
    pipeline = Pipeline()
    for step in (Step.EXECUTE, Step.SYNC):
        pipeline.push(Expected(step))
    assert not pipeline.open
    pipeline.drop_syncs()
    assert steps(pipeline) == [Step.EXECUTE]
    assert pipeline.open, "the implicit transaction goes on until a Sync that counts"
    assert pipeline.cycles_sent == 0


def test_cycles_count_syncs_and_simple_queries() -> None:
    pipeline = Pipeline()
    for step in (Step.PARSE, Step.SYNC, Step.QUERY):
        pipeline.push(Expected(step))
    assert pipeline.cycles_sent == 2
    for _ in range(3):
        pipeline.done()
    assert pipeline.cycles_done == 2


@pytest.mark.cap("MAX_PIPELINE")
def test_more_than_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIPELINE", 2)
    pipeline = Pipeline()
    pipeline.push(Expected(Step.PARSE))
    pipeline.push(Expected(Step.BIND))
    with pytest.raises(OverLimit, match="more than 2 requests"):
        pipeline.push(Expected(Step.EXECUTE))
