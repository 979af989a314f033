"""The verbs of rules are those that the analysis of SQL speaks."""

import re
from pathlib import Path

import taskgate.sql
from taskgate.policy.vocabulary import ANY_VERB, POSTGRES, NameShape, nearest

# Of what the gate did not see made: nothing but `any: ["*"]` is wide enough.
UNSEEN = {"execute", "fetch"}
_SPOKEN = re.compile(r'(?:\bAction\(|\bact\(reader, |\bnote_write\(reader, |verb = )"([a-z_]+)"')


def test_every_verb_of_the_analysis_can_stand_in_a_rule() -> None:
    folder = Path(str(taskgate.sql.__file__)).parent
    spoken = {
        verb for file in folder.glob("*.py") for verb in _SPOKEN.findall(file.read_text("utf-8"))
    }
    assert {"select", "insert", "drop", "call", "set"} <= spoken, "the pattern finds too little"
    assert spoken - UNSEEN <= set(POSTGRES.verbs)


def test_groups_and_equivalents_are_made_of_verbs() -> None:
    for verbs in POSTGRES.groups.values():
        assert set(verbs) <= set(POSTGRES.verbs)
    assert set(POSTGRES.groups) == set(POSTGRES.group_about)
    assert ANY_VERB not in POSTGRES.verbs
    assert not set(POSTGRES.groups) & set(POSTGRES.verbs)
    for spec in POSTGRES.verbs.values():
        assert set(spec.also) <= set(POSTGRES.verbs)
        assert spec.about
        assert not spec.columns or spec.shape is NameShape.QUALIFIED


def test_a_suggestion_is_close_or_lists_what_there_is() -> None:
    assert nearest("SELECT", POSTGRES.verbs) == "did you mean select?"
    assert nearest("zzzz", ["b", "a"]) == "known here: a, b"
    assert nearest("x", []) == ""
