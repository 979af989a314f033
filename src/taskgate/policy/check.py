"""Rules that can never take effect: each is somebody's mistaken belief about what is enforced.

Entries are compared pair by pair: an entry that only several others together make useless is not
found. "Surely covers" is told for literals, `*` and `prefix*`; where it cannot be told, no error.
"""

from collections.abc import Collection, Iterable, Iterator

from taskgate.model.errors import BadConfig
from taskgate.policy.roles import unmatched
from taskgate.policy.rules import Effect, Entry, Right, Role, Rule, Task
from taskgate.policy.vocabulary import ANY_VERB, RuleVocabulary, nearest

Pair = tuple[Rule, Entry]


def check_task(task: Task) -> list[BadConfig]:
    """Every rule and mask of `task` that cannot have an effect."""
    permits, holds, denies = (
        [(rule, entry) for rule in task.rules if rule.effect is effect for entry in rule.entries]
        for effect in Effect
    )
    vocabulary = task.vocabulary
    return [
        *_whole(permits, _shadowed(permits, denies, vocabulary)),
        *_whole(holds, _shadowed(holds, denies, vocabulary)),
        *_whole(permits, _shadowed(permits, holds, vocabulary)),
        *_whole(denies, _repeated(denies)),
        *_whole(holds, _repeated(holds)),
        *_whole(permits, _superfluous(permits, vocabulary)),
        *_masks(task),
    ]


def _whole(pairs: list[Pair], dead: Iterable[tuple[Pair, BadConfig]]) -> Iterator[BadConfig]:
    """One error for each pattern as written: a group's (`write`) only if all its verbs are dead."""
    errors: dict[tuple[str, str, str], list[BadConfig]] = {}
    for pair, error in dead:
        errors.setdefault(_written(pair), []).append(error)
    for written, list_of in errors.items():
        if len(list_of) == sum(_written(pair) == written for pair in pairs):
            yield list_of[0]


def _written(pair: Pair) -> tuple[str, str, str]:
    rule, entry = pair
    return rule.address, entry.word, entry.pattern.text


def _shadowed(
    pairs: list[Pair], by: list[Pair], vocabulary: RuleVocabulary
) -> Iterator[tuple[Pair, BadConfig]]:
    """Entries of a weaker effect that a stronger one always beats."""
    for rule, entry in pairs:
        for stronger, other in by:
            if (
                _beats(other, entry, vocabulary)
                and other.pattern.covers(entry.pattern)
                and other.pattern.covers_columns(entry.pattern)
            ):
                effect = stronger.effect.value
                yield (
                    (rule, entry),
                    BadConfig(
                        f"{entry} never takes effect: {effect} {other} ({stronger.source})"
                        " always comes first",
                        where=entry.source,
                        hint=f"drop one of the two, or narrow the {effect}",
                    ),
                )
                break


def _beats(stronger: Entry, weaker: Entry, vocabulary: RuleVocabulary) -> bool:
    if stronger.verb == ANY_VERB:
        spec = vocabulary.spec(weaker.verb)
        return spec is None or not spec.ungated
    return stronger.verb in vocabulary.deny_verbs(weaker.verb) and weaker.verb != ANY_VERB


def _repeated(pairs: list[Pair]) -> Iterator[tuple[Pair, BadConfig]]:
    """The same verb and pattern again in the same effect."""
    for index, (rule, entry) in enumerate(pairs):
        for earlier, other in pairs[:index]:
            same = other.pattern.covers(entry.pattern) and entry.pattern.covers(other.pattern)
            if (
                same
                and other.verb == entry.verb
                and other.pattern.columns == entry.pattern.columns
                and (rule.demand is None or rule.demand == earlier.demand)
            ):
                yield (
                    (rule, entry),
                    BadConfig(
                        f"{entry} repeats {earlier.address} ({other.source})",
                        where=entry.source,
                        hint="keep one of the two",
                    ),
                )
                break


def _superfluous(pairs: list[Pair], vocabulary: RuleVocabulary) -> Iterator[tuple[Pair, BadConfig]]:
    """Permits that a wider permit makes needless: whoever wrote one may think it narrows."""
    for index, (rule, entry) in enumerate(pairs):
        for at, (wider, other) in enumerate(pairs):
            if (
                at == index
                or other.verb not in (entry.verb, ANY_VERB)
                or not other.pattern.covers(entry.pattern)
                or not other.pattern.covers_columns(entry.pattern)
                or (rule.trusted and not wider.trusted)
                or _opens_system(entry, other, vocabulary)
                or _spells_options(entry, other)
            ):
                continue
            mutual = (
                entry.verb == other.verb
                and entry.pattern.covers(other.pattern)
                and entry.pattern.covers_columns(other.pattern)
                and rule.trusted == wider.trusted
            )
            if mutual and at > index:
                continue  # of two equals, the second is at fault
            yield (
                (rule, entry),
                BadConfig(
                    f"{entry} adds nothing: {other} ({other.source}) permits all of it already",
                    where=entry.source,
                    hint="drop it; to narrow the wider permit use deny, or list its objects",
                ),
            )
            break


def _spells_options(entry: Entry, wider: Entry) -> bool:
    """Whether `entry` writes an option out that `wider` reaches by a wildcard alone: some options
    of commands only a literal permits (`model.names.Guarded`), and which ones is not told here."""
    if wider.pattern.name.everything:
        return False
    theirs = {part.literal for part in wider.pattern.name.parts}
    return any(
        part.literal is not None and part.literal.startswith("-") and part.literal not in theirs
        for part in entry.pattern.name.parts
    )


def _opens_system(entry: Entry, wider: Entry, vocabulary: RuleVocabulary) -> bool:
    """Whether `entry` names a system schema, or a revealing relation, that `wider` does not."""
    if entry.pattern.catalog and not wider.pattern.catalog:
        return not (wider.verb == ANY_VERB and wider.pattern.name.everything)
    parts, theirs = entry.pattern.name.parts, wider.pattern.name.parts
    if not parts or parts[0].literal not in vocabulary.system_schemas:
        return False
    names_relation = len(parts) == 2 and parts[1].literal is not None
    if not theirs:
        return wider.verb != ANY_VERB or names_relation
    return theirs[0].literal is None or (names_relation and theirs[1].literal is None)


def _masks(task: Task) -> Iterator[BadConfig]:
    """Column masks behind an earlier one that takes all of their columns."""
    for index, later in enumerate(task.mask_patterns):
        for earlier in task.mask_patterns[:index]:
            if earlier.relation.covers(later.relation) and earlier.column.covers(later.column):
                yield BadConfig(
                    f"the mask of {later} never takes effect: {earlier} ({earlier.source})"
                    " comes first",
                    where=later.source,
                    hint="drop it, or put it before the wider one",
                )
                break


def check_roles(roles: Iterable[Role]) -> Iterator[BadConfig]:
    """Whoever administers by one role and audits by another: the two are kept apart."""
    kept = list(roles)
    for role in kept:
        if Right.ADMINISTER not in role.rights:
            continue
        for other in kept:
            both = (role.members.groups & other.members.groups) | (
                role.members.subjects & other.members.subjects
            )
            if both and other.rights & {Right.AUDIT, Right.REPLAY}:
                yield BadConfig(
                    f"{', '.join(sorted(both))} would administer by role {role.name} and audit by"
                    f" role {other.name}",
                    where=other.source,
                    hint="an administrator is no auditor; use two groups",
                )


def check_scopes(roles: Iterable[Role], tasks: Collection[str]) -> Iterator[BadConfig]:
    """Roles over tasks that there are none of."""
    for role in roles:
        for pattern in unmatched(sorted(role.tasks), tasks):
            yield BadConfig(
                f"role {role.name} is over {pattern}, and no task is named so",
                where=role.source,
                hint=nearest(pattern, tasks) or "write a task's name, or a pattern such as sales-*",
            )
