"""Whether one entry of a rule applies to one action: the question under judge() and explain().

Deny and hold entries are read widely (whatever might be meant is), permit entries narrowly
(only what surely is).
"""

from collections.abc import Callable
from dataclasses import dataclass

from taskgate.model.action import Action
from taskgate.model.names import NamePattern, PartPattern, split
from taskgate.policy.patterns import CATALOG
from taskgate.policy.rules import Effect, Entry, Rule
from taskgate.policy.shapes import SHAPES
from taskgate.policy.vocabulary import ANY_VERB, NameShape, RuleVocabulary, VerbSpec

METADATA = "metadata"
# Kinds and verbs that need no permit: sessions cannot do without them, and they reach nothing.
UNGATED_KINDS = frozenset({"builtin", "safe_setting"})

# In place of a column's name: any of the relation's.
ANY_COLUMN = "*"
# What lies in any schema lies within these.
_HOLDS_EVERYTHING = frozenset({"database", "owned"})
# Verbs about a path and all below it, and the kind of object that is such a path for any verb.
_WITH_ALL_BELOW = frozenset({"rename", "link"})
_TREE = "tree"
# What CASCADE takes along: anything of any kind.
_DEPENDENT = "dependent"


@dataclass(frozen=True, slots=True)
class Subject:
    """An action with its name read, as entries are matched against it.

    `name` None: the name could not be read, so nothing permits it. `touched` are all columns
    that the action needs, None where that cannot be told.
    """

    action: Action
    name: tuple[str | None, ...] | None
    touched: frozenset[str] | None
    ungated: bool


def subject_of(action: Action, vocabulary: RuleVocabulary) -> Subject:
    """Reads one action."""
    spec = vocabulary.spec(action.verb)
    text = action.object.lower() if spec is not None and spec.folded else action.object
    name: tuple[str | None, ...] | None
    read = _reader(spec, vocabulary)
    try:
        name = read(text)
    except ValueError:
        name = None
    if name is not None and spec is not None and vocabulary.relational:
        if spec.shape is NameShape.SINGLE and name:
            # A setting's dots part nothing.
            name = None if None in name else (".".join(part or "" for part in name),)
        elif spec.shape is NameShape.QUALIFIED and len(name) != 2:
            name = None
    touched = None
    if action.columns is not None:
        touched = frozenset(action.columns) | frozenset(action.compared)
        if ANY_COLUMN in touched:
            touched = None
    ungated = action.kind in UNGATED_KINDS or (
        spec is not None and spec.ungated and action.kind == "statement"
    )
    return Subject(action, name, touched, ungated)


def _reader(
    spec: VerbSpec | None, vocabulary: RuleVocabulary
) -> Callable[[str], tuple[str | None, ...]]:
    if vocabulary.relational:
        return split
    shape = SHAPES.get(spec.shape) if spec is not None else None
    return shape.read if shape is not None else _single


def _single(text: str) -> tuple[str]:
    if not text:
        raise ValueError("no name")
    return (text,)


def why_not(rule: Rule, entry: Entry, subject: Subject, vocabulary: RuleVocabulary) -> str:
    """Empty where the entry applies; otherwise what it is that does not match.

    For a permit or hold with a column list, "applies" means that it speaks of this object;
    `covered_columns` says how far.
    """
    action, pattern = subject.action, entry.pattern
    permit = rule.effect is Effect.PERMIT
    if entry.verb != ANY_VERB and not _verb_counts(entry.verb, action.verb, permit, vocabulary):
        return f"it is about {entry.verb}, not {action.verb}"
    if rule.effect is Effect.HOLD and entry.verb == ANY_VERB and subject.ungated:
        return "a hold by any leaves what needs no permit alone"
    if pattern.catalog:
        return "" if action.kind == METADATA else f"{CATALOG} has metadata relations only"
    if pattern.kind not in ("", action.kind) and (permit or action.kind != _DEPENDENT):
        return f"it is about kind {pattern.kind}, not {action.kind}"
    if subject.name is None:
        return "the object's name cannot be read" if permit else ""
    if permit:
        if not _surely_matches(pattern.name, subject.name):
            return _name_differs(subject, pattern.text)
        if _is_closed_system(entry, subject, vocabulary):
            return f"system schemas are reached by name or {CATALOG} only"
    elif not (pattern.name.may_match(subject.name) or _is_within(pattern.name, subject)):
        return _name_differs(subject, pattern.text)
    elif pattern.columns is not None and not _touches(pattern.columns, subject):
        return "none of its columns is touched"
    return ""


def _is_within(pattern: NamePattern, subject: Subject) -> bool:
    """Whether what the action names holds objects that `pattern` is about: `DROP SCHEMA sales`
    drops `sales.orders` too, and a folder is renamed with all below it."""
    if subject.action.kind in ("path", _TREE):
        return (
            (subject.action.kind == _TREE or subject.action.verb in _WITH_ALL_BELOW)
            and subject.name is not None
            and pattern.may_match_below(subject.name)
        )
    if len(pattern.parts) != 2 or subject.name is None:
        return False
    if subject.action.kind in _HOLDS_EVERYTHING:
        return True
    return subject.action.kind == "schema" and (
        len(subject.name) == 1 and NamePattern(pattern.parts[:1]).may_match(subject.name)
    )


def covers(rule: Rule, entry: Entry, subject: Subject) -> bool:
    """Whether an entry that applies may also let the action run: a permit, or a hold that surely
    names this verb and this object."""
    if rule.effect is Effect.PERMIT:
        return True
    return (
        rule.effect is Effect.HOLD
        and entry.verb in (ANY_VERB, subject.action.verb)
        and subject.name is not None
        and (entry.pattern.catalog or _surely_matches(entry.pattern.name, subject.name))
    )


def _surely_matches(pattern: NamePattern, name: tuple[str | None, ...]) -> bool:
    # Where the schema is not known it might yet turn out to be any, a system's own too.
    return pattern.everything or (None not in name[:1] and pattern.matches(name))


def _verb_counts(entry: str, verb: str, permit: bool, vocabulary: RuleVocabulary) -> bool:
    return entry == verb if permit else entry in vocabulary.deny_verbs(verb)


def _name_differs(subject: Subject, text: str) -> str:
    if subject.name is not None and None in subject.name:
        return "the object could not be resolved, so only * matches it"
    return f"{text} does not match"


def _touches(columns: tuple[PartPattern, ...], subject: Subject) -> bool:
    # Columns that cannot be told might be these.
    return subject.touched is None or any(
        pattern.matches(column) for pattern in columns for column in subject.touched
    )


def _is_closed_system(entry: Entry, subject: Subject, vocabulary: RuleVocabulary) -> bool:
    """Whether the object is in a system schema that the entry reaches by a wildcard only."""
    if subject.name is None or len(subject.name) != 2:
        return False
    if subject.name[0] not in vocabulary.system_schemas:
        return False
    parts = entry.pattern.name.parts
    if not parts:
        return entry.verb != ANY_VERB
    return parts[0].literal is None


def names_outright(entry: Entry, name: tuple[str | None, ...] | None) -> bool:
    """Whether the entry spells `name` out, without a wildcard."""
    parts = tuple(part.literal for part in entry.pattern.name.parts)
    return bool(parts) and None not in parts and parts == name


def covered_columns(entry: Entry, columns: frozenset[str]) -> frozenset[str]:
    """Those of `columns` that the entry's list has; all of them where it has no list."""
    patterns = entry.pattern.columns
    if patterns is None:
        return columns
    return frozenset(c for c in columns if any(p.matches(c) for p in patterns))
