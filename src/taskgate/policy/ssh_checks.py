"""What can only be said of hosts once all documents are read: the ways through other hosts,
certificates that something will make, files that something will read or write."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from taskgate.model.decision import Outcome
from taskgate.model.errors import BadConfig
from taskgate.model.limits import MAX_JUMPS
from taskgate.model.resource import Resource
from taskgate.policy.document import Document
from taskgate.policy.models import TaskBase
from taskgate.policy.problems import problem
from taskgate.policy.rules import Effect, Task
from taskgate.policy.vocabulary import ANY_VERB, nearest


@dataclass(frozen=True, slots=True)
class Jumps:
    """The `jump` of a document, as it is written."""

    names: tuple[str, ...]
    document: Document


def find_ways(
    resources: Mapping[str, Resource], jumps: Mapping[str, Jumps], known: frozenset[str]
) -> tuple[dict[str, Resource], list[BadConfig]]:
    """The resources that have a `jump`, with their whole way. `known` are names of documents that
    have an error of their own."""
    found: dict[str, Resource] = {}
    errors = []
    for name, jump in jumps.items():
        try:
            way = _way(name, resources, jumps)
        except _Wrong as wrong:
            if wrong.about not in known:
                errors.append(problem(jump.document, ("jump",), wrong.message, wrong.hint))
            continue
        found[name] = replace(resources[name], via=tuple(resources[one] for one in way))
    return found, errors


class _Wrong(Exception):
    def __init__(self, message: str, hint: str, about: str = "") -> None:
        super().__init__(message)
        self.message, self.hint, self.about = message, hint, about


def _way(name: str, resources: Mapping[str, Resource], jumps: Mapping[str, Jumps]) -> list[str]:
    way: list[str] = []
    at: str | None = name
    while at is not None:
        names = jumps[at].names
        for place, one in enumerate(names):
            _ensure_host(one, resources)
            if place and one in jumps:
                hint = "list it first, so that its own jump counts, or leave that out"
                raise _Wrong(f"jump: {one} is reached through other hosts itself", hint)
        way = [*names, *way]
        if len(way) > MAX_JUMPS:
            raise _Wrong(f"jump: more than {MAX_JUMPS} hosts on the way", "take a shorter way")
        if len({*way, name}) != len(way) + 1:
            through = " - ".join([*way, name])
            raise _Wrong(f"jump: the way goes through a host twice: {through}", "break the circle")
        at = names[0] if names[0] in jumps else None
    return way


def _ensure_host(name: str, resources: Mapping[str, Resource]) -> None:
    resource = resources.get(name)
    if resource is None:
        hint = nearest(name, resources) or "write a document of kind: Resource"
        raise _Wrong(f"jump: unknown resource {name}", hint, name)
    if resource.protocol != "ssh":
        raise _Wrong(f"jump: {name} is no host", "name resources with protocol: ssh")


def check_certificate(
    model: TaskBase, task: Task, resources: Mapping[str, Resource], document: Document
) -> Iterator[BadConfig]:
    """What is wrong with a task's `certificate`."""
    if model.certificate is None:
        return
    named = [resources[name] for name in task.resources if name in resources]
    if len(named) == len(task.resources) and not any(one.credential.minted for one in named):
        yield problem(
            document,
            ("certificate",),
            "certificate never takes effect: the gate signs in otherwise at its hosts",
            "leave it out, or say certificate: minted in a resource's credential",
        )
    shells = any(
        entry.verb == "shell"
        for rule in task.rules
        if rule.effect is not Effect.DENY
        for entry in rule.entries
    )
    if task.certificate.force_command and shells:
        yield problem(
            document,
            ("certificate", "force_command"),
            "force_command and a shell: nobody knows beforehand what is typed into it",
            "leave one of them out, or write a task for each",
        )


def check_kept_files(model: TaskBase, task: Task, document: Document) -> Iterator[BadConfig]:
    """What is wrong with a task's `record: {files: true}`."""
    verbs = {
        entry.verb
        for rule in task.rules
        if rule.effect is not Effect.DENY
        for entry in rule.entries
    }
    if (
        task.keep_files
        and task.otherwise is Outcome.DENY
        and not verbs & {"read", "write", ANY_VERB}
    ):
        yield problem(
            document,
            ("record", "files"),
            "files: true never takes effect: the task lets nobody read or write files",
            "leave it out, or permit read or write",
        )
