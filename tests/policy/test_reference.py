"""The committed reference and the editors' schema are those of the models."""

import json
from pathlib import Path

import pytest
import yaml

from taskgate.policy.models import RoleModel, TaskBase
from taskgate.policy.reference import examples, reference
from taskgate.policy.resource_models import ResourceModel
from taskgate.policy.schema import schema
from taskgate.policy.ssh_models import SshResourceModel
from taskgate.policy.trust_models import TrustModel
from taskgate.policy.vocabularies import DEFAULT_VOCABULARIES
from taskgate.policy.vocabulary import POSTGRES

DOCS = Path(__file__).parents[2] / "docs" / "policy.md"


def test_the_committed_reference_is_current() -> None:
    assert DOCS.read_text("utf-8") == reference(), (
        "run: python -m taskgate.policy.reference > docs/policy.md"
    )


def test_every_key_and_verb_stands_in_the_reference() -> None:
    text = reference()
    for model in (ResourceModel, SshResourceModel, RoleModel, TaskBase, TrustModel):
        for name, field in model.model_fields.items():
            assert f"| `{field.alias or name}` |" in text
            assert field.description, f"{model.__name__}.{name} says nothing of itself"
    for vocabulary in DEFAULT_VOCABULARIES.values():
        for verb in vocabulary.words():
            assert f"| `{verb}` |" in text
    for example in examples().values():
        assert example.rstrip() in text


def test_the_schema_is_json_and_strict() -> None:
    made = json.loads(json.dumps(schema()))
    assert len(made["oneOf"]) == 6
    definitions = made["$defs"]
    assert set(definitions["PermitRule"]["properties"]) == {"reason", "trusted", *POSTGRES.words()}
    assert set(definitions["HoldRule"]["properties"]) == {"reason", "for", *POSTGRES.words()}
    for name, definition in definitions.items():
        if definition.get("type") == "object":
            assert definition["additionalProperties"] is False, name
    assert "as" in definitions["MaskModel"]["required"]


@pytest.mark.parametrize("name", list(examples()))
def test_the_schema_knows_every_key_of_the_examples(name: str) -> None:
    definitions = schema()["$defs"]
    for document in yaml.safe_load_all(examples()[name]):
        kind = document["kind"]
        model = kind if kind == "Task" else f"{kind}Model"
        if name == "hosts.yaml":
            model = f"Ssh{model}"
        assert set(document) <= set(definitions[model]["properties"])
