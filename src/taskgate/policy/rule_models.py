"""The models that depend on a protocol's verbs: rules, and the tasks that hold them."""

from functools import lru_cache
from typing import Any

from pydantic import BaseModel, Field, create_model

from taskgate.policy.fields import Words
from taskgate.policy.models import DenyRule, HoldRule, PermitRule, PlainRule, TaskBase
from taskgate.policy.vocabulary import ANY_VERB, POSTGRES, RuleVocabulary

# Verbs become fields; their names stay clear of BaseModel's own attributes.
_PREFIX = "verb_"

_RULE_ABOUT = {
    "permit": "What may run.",
    "hold": "What waits for people. Beats permit, and needs none beside it.",
    "deny": "What never runs. Beats hold and permit.",
}


def _rule_model(name: str, base: type[PlainRule], vocabulary: RuleVocabulary) -> type[PlainRule]:
    about = {spec.name: f"Objects: {spec.about}." for spec in vocabulary.verbs.values()}
    about |= {group: f"Objects: {text}." for group, text in vocabulary.group_about.items()}
    about[ANY_VERB] = 'Objects of every verb; `["*"]` is everything.'
    fields: dict[str, Any] = {
        _PREFIX + word: (Words | None, Field(default=None, alias=word, description=about[word]))
        for word in vocabulary.words()
    }
    model: type[PlainRule] = create_model(name, __base__=base, __doc__=base.__doc__, **fields)
    return model


@lru_cache(maxsize=32)
def _task_model(holder: "_ById") -> type[TaskBase]:
    vocabulary = holder.vocabulary
    # Each name once in the editors' schema, which has all protocols in it.
    prefix = "" if vocabulary is POSTGRES else vocabulary.protocol.capitalize()
    rules: dict[str, Any] = {}
    for effect, name, base in (
        ("permit", "PermitRule", PermitRule),
        ("hold", "HoldRule", HoldRule),
        ("deny", "DenyRule", DenyRule),
    ):
        rule = _rule_model(prefix + name, base, vocabulary)
        rules[effect] = (
            list[rule],  # type: ignore[valid-type]  # made from the vocabulary at run time
            Field(default_factory=list, description=_RULE_ABOUT[effect]),
        )
    model: type[TaskBase] = create_model(
        f"{prefix}Task", __base__=TaskBase, __doc__=TaskBase.__doc__, **rules
    )
    return model


class _ById:
    """A vocabulary as a cache key: it holds mappings, so it has no hash of its own."""

    __slots__ = ("vocabulary",)

    def __init__(self, vocabulary: RuleVocabulary) -> None:
        self.vocabulary = vocabulary

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.vocabulary is self.vocabulary

    def __hash__(self) -> int:
        return id(self.vocabulary)


def task_model(vocabulary: RuleVocabulary) -> type[TaskBase]:
    """The model of a task whose rules speak `vocabulary`."""
    return _task_model(_ById(vocabulary))


def rules_of(task: BaseModel, effect: str) -> list[PlainRule]:
    """The rule models under `permit`, `hold` or `deny`."""
    found: list[PlainRule] = getattr(task, effect)
    return found


def words_of(rule: PlainRule) -> dict[str, list[str]]:
    """The verbs a rule names, in its file's order of fields, each with its patterns."""
    return {
        name.removeprefix(_PREFIX): value
        for name in type(rule).model_fields
        if name.startswith(_PREFIX) and (value := getattr(rule, name)) is not None
    }


def is_verb_field(name: str) -> bool:
    """Whether a field of a rule model is one of its verbs."""
    return name.startswith(_PREFIX)
