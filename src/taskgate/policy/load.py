"""Policy files to a Policy, or to everything that is wrong with them."""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from taskgate.model.errors import BadConfig
from taskgate.model.identity import IdentityKind
from taskgate.model.limits import MAX_POLICY_FILE_BYTES, MAX_POLICY_FILES
from taskgate.model.resource import Resource
from taskgate.policy.build import (
    TaskBuilder,
    build_resource,
    build_role,
    build_trust,
    demand_of_roles,
)
from taskgate.policy.check import check_roles, check_scopes, check_task
from taskgate.policy.document import Document, Path, Value, parse_documents
from taskgate.policy.models import RoleModel, TaskBase
from taskgate.policy.problems import PolicyErrors, problem, problems_of, spell_path
from taskgate.policy.resource_forms import RESOURCE_MODELS
from taskgate.policy.resource_models import ResourceModel
from taskgate.policy.rule_models import task_model
from taskgate.policy.rules import Policy, Role, Task
from taskgate.policy.ssh_checks import Jumps, check_certificate, check_kept_files, find_ways
from taskgate.policy.ssh_models import SshResourceModel
from taskgate.policy.trust_models import TrustModel
from taskgate.policy.trusts import Trust
from taskgate.policy.vocabularies import DEFAULT_VOCABULARIES
from taskgate.policy.vocabulary import RuleVocabulary, nearest

# What the detectors of `masking` find; a test keeps the two lists equal.
DETECTED_KINDS = frozenset(
    {
        "cloud_key",
        "credit_card",
        "email",
        "iban",
        "ipv4",
        "ipv6",
        "jwt",
        "phone",
        "private_key",
        "us_ssn",
    }
)
_KINDS = ("Resource", "Task", "Role", "Trust")
_M = TypeVar("_M", bound=BaseModel)


def load_files(
    files: Mapping[str, str],
    vocabularies: Mapping[str, RuleVocabulary] = DEFAULT_VOCABULARIES,
    known_kinds: Iterable[str] = DETECTED_KINDS,
) -> Policy:
    """The policy in `files` (name to text). Protocols give their `vocabularies` by name.

    Raises: PolicyErrors with every error found, each with `file:line` and what to write.
    """
    if len(files) > MAX_POLICY_FILES:
        raise PolicyErrors([BadConfig(f"more than {MAX_POLICY_FILES} policy files")])
    if not files:
        raise PolicyErrors([BadConfig("no policy files", hint="write one that ends in .yaml")])
    for name, text in files.items():
        if not (name + text).isprintable() and any("\ud800" <= c <= "\udfff" for c in name + text):
            raise PolicyErrors([BadConfig("not Unicode text", where=ascii(name))])
    loader = _Loader(vocabularies, frozenset(known_kinds))
    texts = {name: _normal(text) for name, text in files.items()}
    for name in sorted(texts):
        loader.read(name, texts[name])
    loader.build()
    if loader.errors:
        raise PolicyErrors(sorted(loader.errors, key=_place))
    return Policy(
        version_of(files),
        dict(loader.resources),
        dict(loader.tasks),
        dict(loader.roles),
        texts,
        dict(loader.trusts),
    )


def load_dir(
    path: FilePath,
    vocabularies: Mapping[str, RuleVocabulary] = DEFAULT_VOCABULARIES,
    known_kinds: Iterable[str] = DETECTED_KINDS,
) -> Policy:
    """The policy in every `*.yaml` and `*.yml` below `path`, hidden ones left out.

    Raises: PolicyErrors.
    """
    return load_files(read_dir(path), vocabularies, known_kinds)


def read_dir(path: FilePath) -> dict[str, str]:
    """The texts of a folder's policy files, by their path below it.

    Raises: PolicyErrors where one cannot be read.
    """
    if not path.is_dir():
        raise PolicyErrors([BadConfig(f"{path} is no folder", hint="name one with policy files")])
    files: dict[str, str] = {}
    errors: list[BadConfig] = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or not name.endswith((".yaml", ".yml")):
                continue
            file = FilePath(folder) / name
            where = file.relative_to(path).as_posix()
            try:
                # One byte more than is taken, so that a huge file is refused and not read.
                with file.open("rb") as stream:
                    files[where] = stream.read(MAX_POLICY_FILE_BYTES + 1).decode()
            except OSError as error:
                errors.append(BadConfig(f"cannot be read: {error.strerror}", where=where))
            except UnicodeDecodeError:
                errors.append(BadConfig("not UTF-8 text, or too large", where=where))
            if len(files) > MAX_POLICY_FILES:
                raise PolicyErrors([BadConfig(f"more than {MAX_POLICY_FILES} policy files")])
    if errors:
        raise PolicyErrors(errors)
    return files


def version_of(files: Mapping[str, str]) -> str:
    """The content hash of a set of files, hex: names and texts, line ends made one."""
    digest = hashlib.sha256(b"taskgate policy 1\n")
    for name in sorted(files):
        for part in (name, _normal(files[name])):
            raw = part.encode()
            digest.update(len(raw).to_bytes(8, "big"))
            digest.update(raw)
    return digest.hexdigest()


def _normal(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _empty(value: Value, path: Path) -> Iterator[Path]:
    """Every place without a value; `as: null` is one way to mask."""
    if value is None and path[-1:] != ("as",):
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _empty(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _empty(item, (*path, index))


def _place(error: BadConfig) -> tuple[str, int]:
    file, _, line = error.where.rpartition(":")
    return (file, int(line)) if line.isdigit() else (error.where, 0)


@dataclass(slots=True)
class _Loader:
    """Documents as they come; tasks wait for the resources they name."""

    vocabularies: Mapping[str, RuleVocabulary]
    known_kinds: frozenset[str]
    resources: dict[str, Resource] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    trusts: dict[str, Trust] = field(default_factory=dict)
    trust_documents: dict[str, Document] = field(default_factory=dict)
    jumps: dict[str, Jumps] = field(default_factory=dict)
    waiting: list[Document] = field(default_factory=list)
    first: dict[tuple[str, str], str] = field(default_factory=dict)
    errors: list[BadConfig] = field(default_factory=list)

    def read(self, name: str, text: str) -> None:
        """Takes in one file."""
        try:
            documents = parse_documents(text, name)
        except BadConfig as error:
            self.errors.append(error)
            return
        for document in documents:
            self._read(document)

    def _read(self, document: Document) -> None:
        # A key left empty looks set and would count as absent: hours that never close.
        for path in _empty(document.value, ()):
            hint = "give it a value, or leave the key out"
            self._wrong(document, path, f"{spell_path(path)} is empty", hint)
        value = document.value
        kind = value.get("kind") if isinstance(value, dict) else None
        if kind not in _KINDS:
            hint = nearest(kind, _KINDS) if isinstance(kind, str) else "write kind: Task"
            self._wrong(document, ("kind",), "kind must be Resource, Task, Role or Trust", hint)
        elif kind == "Resource":
            self._resource(document)
        elif kind == "Role":
            role = self._checked(RoleModel, document)
            if role is not None and self._is_new(document, "role", role.name):
                self.roles[role.name] = build_role(role, document)
        elif kind == "Trust":
            trust = self._checked(TrustModel, document)
            if trust is not None and self._is_new(document, "trust", trust.name):
                self.trusts[trust.name] = build_trust(trust, document)
                self.trust_documents[trust.name] = document
        else:
            self.waiting.append(document)

    def _resource(self, document: Document) -> None:
        value = document.value if isinstance(document.value, dict) else {}
        protocol = value.get("protocol")
        # What a resource may say depends on what it speaks.
        form: type[ResourceModel | SshResourceModel] = ResourceModel
        if isinstance(protocol, str):
            if protocol not in self.vocabularies:
                hint = nearest(protocol, self.vocabularies)
                self._wrong(document, ("protocol",), f"unknown protocol {protocol}", hint)
                self._know_by_name(document)
                return
            form = RESOURCE_MODELS.get(protocol, ResourceModel)
        model = self._checked(form, document)
        if model is not None and self._is_new(document, "resource", model.name):
            self.resources[model.name] = build_resource(model, self.vocabularies[model.protocol])
            if isinstance(model, SshResourceModel) and model.jump:
                self.jumps[model.name] = Jumps(tuple(model.jump), document)

    def build(self) -> None:
        """Builds the tasks, now that every resource is known."""
        known_by_name = frozenset(name for sort, name in self.first if sort == "resource")
        ways, errors = find_ways(self.resources, self.jumps, known_by_name)
        self.resources.update(ways)
        self.errors.extend(errors)
        built: dict[str, Document] = {}
        for document in self.waiting:
            vocabulary = self._vocabulary(document)
            model = self._checked(task_model(vocabulary), document)
            if model is None or not self._is_new(document, "task", model.name):
                continue
            self._check_resources(model, document)
            by_role = demand_of_roles(self.roles.values(), model.name)
            builder = TaskBuilder(model, document, vocabulary, self.known_kinds, by_role)
            task = builder.build()
            self.errors.extend(builder.errors or check_task(task))
            self.errors.extend(check_certificate(model, task, self.resources, document))
            if vocabulary.protocol == "ssh":
                self.errors.extend(check_kept_files(model, task, document))
            self.tasks[task.name] = task
            built[task.name] = document
        for trust in self.trusts.values():
            self._open(trust, self.trust_documents[trust.name])
        for name, document in built.items():
            members = self.tasks[name].members
            if self.tasks[name].sign_in is not None and members.kinds == {IdentityKind.WORKLOAD}:
                hint = "leave sign_in out, or add human to its kinds"
                self._wrong(document, ("sign_in",), "a workload can never meet sign_in", hint)
            if not (members.groups or members.subjects or members.trusts):
                hint = "name groups or people, or list the task in a Trust"
                self._wrong(document, ("for",), "for is missing: nobody may take it up", hint)
        self.errors.extend(check_roles(self.roles.values()))
        # A task with an error of its own is known by name.
        known = {*self.tasks, *(name for sort, name in self.first if sort == "task")}
        self.errors.extend(check_scopes(self.roles.values(), known))

    def _open(self, trust: Trust, document: Document) -> None:
        """Lets those who come under a trust rule take up its tasks."""
        for name in sorted(trust.tasks):
            task = self.tasks.get(name)
            if task is None:
                # A task with an error of its own is known by name.
                if ("task", name) not in self.first:
                    hint = nearest(name, self.tasks)
                    self._wrong(document, ("tasks",), f"unknown task {name}", hint)
                continue
            members = task.members
            if members.kinds and IdentityKind.WORKLOAD not in members.kinds:
                self._wrong(
                    document,
                    ("tasks",),
                    f"task {name} is not for workloads",
                    "add workload to its kinds, or drop it here",
                )
            if task.sign_in is not None:
                self._wrong(
                    document,
                    ("tasks",),
                    f"task {name} asks how people signed in, which no job ever did",
                    "drop it here, or leave sign_in out of the task",
                )
            trusts = members.trusts | {trust.identity_issuer}
            self.tasks[name] = replace(task, members=replace(members, trusts=trusts))

    def _vocabulary(self, document: Document) -> RuleVocabulary:
        """That of the task's first known resource; any, where none is known: an error follows."""
        value = document.value if isinstance(document.value, dict) else {}
        named = value.get("resources", value.get("resource"))
        for name in named if isinstance(named, list) else [named]:
            resource = self.resources.get(name) if isinstance(name, str) else None
            if resource is not None:
                return self.vocabularies[resource.protocol]
        return next(iter(self.vocabularies.values()))

    def _check_resources(self, model: TaskBase, document: Document) -> None:
        names = [model.resource] if model.resource else list(model.resources or ())
        protocols = set()
        for index, name in enumerate(names):
            path = ("resource",) if model.resource else ("resources", index)
            resource = self.resources.get(name)
            if resource is None:
                # A resource with an error of its own is known by name.
                if ("resource", name) not in self.first:
                    hint = nearest(name, self.resources) or "write a document of kind: Resource"
                    self._wrong(document, path, f"unknown resource {name}", hint)
                continue
            protocols.add(resource.protocol)
        if len(protocols) > 1:
            listed = ", ".join(sorted(protocols))
            self._wrong(
                document,
                ("resources",),
                f"resources of several protocols ({listed}) in one task",
                "write a task for each protocol",
            )

    def _checked(self, model: type[_M], document: Document) -> _M | None:
        try:
            return model.model_validate(document.value)
        except ValidationError as error:
            self.errors.extend(problems_of(error, document, model))
            self._know_by_name(document)
            return None

    def _know_by_name(self, document: Document) -> None:
        """So that no other document is blamed for the absence of one that is wrong."""
        value = document.value if isinstance(document.value, dict) else {}
        name = value.get("name")
        if isinstance(name, str):
            self.first.setdefault((str(value["kind"]).lower(), name), document.where())

    def _is_new(self, document: Document, sort: str, name: str) -> bool:
        key = (sort, unicodedata.normalize("NFKC", name))
        where = self.first.setdefault(key, document.where(("name",)))
        if where == document.where(("name",)):
            return True
        self._wrong(document, ("name",), f"a {sort} {name} is at {where} already", "rename one")
        return False

    def _wrong(
        self, document: Document, path: tuple[str | int, ...], message: str, hint: str
    ) -> None:
        self.errors.append(problem(document, path, message, hint))
