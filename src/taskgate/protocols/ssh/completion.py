"""What a task permits, in plain words and for completion. It promises nothing: each line is
judged."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from taskgate.model.names import PartPattern
from taskgate.policy.rules import Effect, Rule, Task
from taskgate.protocols.ssh.gated import BUILTINS
from taskgate.protocols.ssh.shell import quote

_MAX_LISTED = 100


@dataclass(frozen=True, slots=True)
class Completion:
    """What may stand from `start` to the cursor: `text` is all that the candidates have in common,
    `listed` is each of them, for people."""

    start: int
    text: str
    listed: tuple[str, ...]


def complete(task: Task | None, before: str) -> Completion | None:
    """What could follow `before`, by the task's `run` patterns; None where nothing could."""
    if task is None:
        return None
    line = before
    for joint in ("|", ";", "&&"):
        line = line.rpartition(joint)[2]
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    typed = words.pop() if words and not line[-1:].isspace() else ""
    start = len(before) - len(typed)
    if before[start:] != typed:
        return None  # a word with quotes in it
    found = sorted(set(_next_words(task, words, typed)))
    if not found:
        return None
    common = found[0]
    for other in found[1:]:
        while not other.startswith(common):
            common = common[:-1]
    listed = tuple(word.rstrip() for word in found[:_MAX_LISTED])
    return Completion(start, common, listed)


def _next_words(task: Task, words: list[str], typed: str) -> Iterable[str]:
    """Whole words end in a blank; a part of one, up to its first `*`, does not."""
    if not words:
        yield from (f"{name} " for name in BUILTINS if name.startswith(typed))
    for index in (task.permits, task.holds):
        for _, entry in index.of("run"):
            if entry.verb != "run":
                continue
            part = _after(entry.pattern.name.parts, words)
            if part is None:
                continue
            literal = part.literal
            said = f"{quote(literal)} " if literal is not None else part.pieces[0]
            if said.startswith(typed) and said.strip() and len(said) >= len(typed):
                yield said


def _after(parts: tuple[PartPattern, ...], words: list[str]) -> PartPattern | None:
    """The part of a pattern that comes after `words`."""
    for at, word in enumerate(words):
        if at >= len(parts) or parts[at].many:
            return None
        if not parts[at].matches(word):
            return None
    return parts[len(words)] if len(words) < len(parts) else None


def help_lines(task: Task | None) -> list[str]:
    """What the task's rules say, one a line."""
    if task is None:
        return ["the task is not in the policy any more"]
    lines = [f"task {task.name}: {task.description}" if task.description else f"task {task.name}"]
    for effect, said in (
        (Effect.PERMIT, "runs at once:"),
        (Effect.HOLD, "waits for somebody's approval:"),
        (Effect.DENY, "is refused:"),
    ):
        rules = [rule for rule in task.rules if rule.effect is effect]
        if rules:
            lines += [said, *(f"  {line}" for rule in rules for line in _rule_lines(rule))]
    return [
        *lines,
        "The gate itself does: " + ", ".join(BUILTINS) + ".",
        "What needs a whole terminal (top, less) gets one where `terminal` names it.",
    ]


def _rule_lines(rule: Rule) -> Iterable[str]:
    by_word: dict[str, list[str]] = {}
    for entry in rule.entries:
        by_word.setdefault(entry.word, []).append(entry.pattern.text)
    for word, patterns in by_word.items():
        yield f"{word}: {', '.join(patterns)}" + (f" ({rule.reason})" if rule.reason else "")
