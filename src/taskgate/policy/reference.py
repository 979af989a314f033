"""Writes the policy reference, `docs/policy.md`, from the models and the vocabulary.

`python -m taskgate.policy.reference > docs/policy.md`
"""

import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from pydantic import BaseModel

from taskgate.model.masks import TransformKind
from taskgate.policy.load import DETECTED_KINDS
from taskgate.policy.models import (
    ApprovalsModel,
    Approvers,
    BreakGlassModel,
    ForMembers,
    LastsModel,
    LimitsModel,
    MaskModel,
    RecordModel,
    ReviewModel,
    RoleModel,
    SignInModel,
    StandingModel,
)
from taskgate.policy.resource_models import (
    CredentialModel,
    ResourceModel,
    SecretSource,
)
from taskgate.policy.rule_models import is_verb_field, task_model
from taskgate.policy.shapes import SHAPES
from taskgate.policy.ssh_models import CertificateModel, SshCredentialModel, SshResourceModel
from taskgate.policy.trust_models import TrustModel
from taskgate.policy.units import spell_duration
from taskgate.policy.vocabularies import DEFAULT_VOCABULARIES
from taskgate.policy.vocabulary import POSTGRES, NameShape, RuleVocabulary

EXAMPLES = (
    "sales-report.yaml",
    "on-call.yaml",
    "migrations.yaml",
    "roles.yaml",
    "nightly.yaml",
    "hosts.yaml",
)

_TITLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("`for` of a task, a role, `break_glass` or `review`", ForMembers),
    ("`sign_in`", SignInModel),
    ("`lasts`", LastsModel),
    ("`for` of a hold, `hold_for`, `second_person`", Approvers),
    ("`certificate` of a task", CertificateModel),
    ("`mask`", MaskModel),
    ("`limits`", LimitsModel),
    ("`record`", RecordModel),
    ("`approvals`", ApprovalsModel),
    ("`standing`", StandingModel),
    ("`break_glass`", BreakGlassModel),
    ("`review` of `break_glass`", ReviewModel),
    ("`credential` of a database", CredentialModel),
    ("`credential` of a host", SshCredentialModel),
    ("`password`, `private_key`, `passphrase`, a database's `certificate`", SecretSource),
)

_SHAPES = {
    NameShape.QUALIFIED: "`schema.name`",
    NameShape.SINGLE: "one name",
    NameShape.FLEXIBLE: "`schema.name`, or `kind:name`",
    **{shape: found.about for shape, found in SHAPES.items()},
}


def examples() -> Mapping[str, str]:
    """The example files that the reference shows, by name."""
    folder = resources.files("taskgate.policy").joinpath("examples")
    return {name: folder.joinpath(name).read_text("utf-8") for name in EXAMPLES}


def reference(vocabularies: Mapping[str, RuleVocabulary] = DEFAULT_VOCABULARIES) -> str:
    """The whole reference as Markdown."""
    return "\n".join(_lines(vocabularies)).rstrip() + "\n"


def _lines(vocabularies: Mapping[str, RuleVocabulary]) -> Iterator[str]:
    task = task_model(POSTGRES)
    yield _text("intro.txt")
    for name, text in examples().items():
        yield from ("", f"`{name}`:", "", "```yaml", text.rstrip(), "```")
    yield from ("", "## Resource", "", "With `protocol: postgres`:", "", *_table(ResourceModel))
    yield from ("", "With `protocol: ssh`:", "", *_table(SshResourceModel))
    yield from ("", "## Task", "", *_table(task))
    yield from ("", "## Role", "", *_table(RoleModel))
    yield from ("", "## Trust", "", TrustModel.__doc__ or "", "", *_table(TrustModel))
    yield from ("", "## Parts of these")
    for title, model in _TITLES:
        yield from ("", f"### {title}", "", model.__doc__ or "", "", *_table(model))
    yield from ("", "## Rules", "", _text("rules.txt"))
    for effect in ("permit", "hold", "deny"):
        rule = _item_model(task, effect)
        yield from ("", f"### Under `{effect}`", "", rule.__doc__ or "", "", *_table(rule))
    for vocabulary in vocabularies.values():
        yield from _verbs(vocabulary)
    yield from ("", _text("closing.txt"))
    yield from ("", "## Kinds that detectors find", "")
    yield ", ".join(f"`{kind}`" for kind in sorted(DETECTED_KINDS)) + "."
    yield ""
    yield "Ways to hide a value: " + ", ".join(f"`{kind.value}`" for kind in TransformKind) + "."


def _verbs(vocabulary: RuleVocabulary) -> Iterator[str]:
    yield from ("", f"### Verbs of {vocabulary.protocol}", "")
    yield "| verb | what it is | objects | columns |"
    yield "|---|---|---|---|"
    for spec in vocabulary.verbs.values():
        about = f"{spec.about}; needs no permit" if spec.ungated else spec.about
        columns = "yes" if spec.columns else ""
        yield f"| `{spec.name}` | {_cell(about)} | {_SHAPES[spec.shape]} | {columns} |"
    for group, about in vocabulary.group_about.items():
        yield f"| `{group}` | short for {_cell(about)} | as theirs | |"
    yield '| `any` | every verb; `["*"]` is everything | any | |'
    if vocabulary.kinds:
        yield from ("", "Kinds that may stand before a name:")
        yield ", ".join(f"`{kind}`" for kind in sorted(vocabulary.kinds)) + "."


def _text(name: str) -> str:
    folder = resources.files("taskgate.policy").joinpath("reference_text")
    return folder.joinpath(name).read_text("utf-8").rstrip()


def _item_model(task: type[BaseModel], field: str) -> type[BaseModel]:
    (model,) = task.model_fields[field].annotation.__args__  # type: ignore[union-attr]
    found: type[BaseModel] = model
    return found


def _table(model: type[BaseModel]) -> Iterator[str]:
    properties = model.model_json_schema(by_alias=True)["properties"]
    yield "| key | value | default | what it is |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        if is_verb_field(name):
            continue
        key = field.alias or name
        default = "required" if field.is_required() else _default(key, field.get_default())
        about = _cell(field.description or "")
        yield f"| `{key}` | {_type(properties[key])} | {default} | {about} |"


def _default(key: str, value: Any) -> str:
    if key in ("within", "lasts") and isinstance(value, float):
        return f"`{spell_duration(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str | int) and value != "":
        return f"`{value}`"
    return ""


def _type(shown: Mapping[str, Any]) -> str:
    if "const" in shown:
        return f"`{str(shown['const']).lower() if shown['const'] is False else shown['const']}`"
    if "enum" in shown:
        return ", ".join(f"`{one}`" for one in shown["enum"] if one is not None)
    if "$ref" in shown:
        return "keys"
    if "anyOf" in shown:
        # Whether a key may be left out is said by its default.
        arms = [_type(arm) for arm in shown["anyOf"] if arm.get("type") != "null"]
        return " or ".join(dict.fromkeys(arms))
    sort = shown.get("type", "")
    if sort == "array":
        items = _type(shown["items"])
        return f"list of {items}" if items != "text" else "list"
    if sort == "string" and "examples" in shown:
        return f"such as `{shown['examples'][0]}`"
    words = {"string": "text", "integer": "number", "boolean": "`true`, `false`"}
    if isinstance(sort, list):
        return f"such as `{shown['examples'][0]}`" if "examples" in shown else "text or number"
    return words.get(sort, "keys")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
