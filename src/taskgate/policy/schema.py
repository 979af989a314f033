"""JSON Schema of policy files, for editors, from the same models that check them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from taskgate.policy.models import RoleModel
from taskgate.policy.resource_forms import RESOURCE_MODELS
from taskgate.policy.rule_models import task_model
from taskgate.policy.trust_models import TrustModel
from taskgate.policy.vocabularies import DEFAULT_VOCABULARIES
from taskgate.policy.vocabulary import RuleVocabulary


def schema(
    vocabularies: Mapping[str, RuleVocabulary] = DEFAULT_VOCABULARIES,
) -> Mapping[str, Any]:
    """JSON Schema (draft 2020-12) of one document of a policy file."""
    models: tuple[type[BaseModel], ...] = (
        *RESOURCE_MODELS.values(),
        *(task_model(vocabulary) for vocabulary in vocabularies.values()),
        RoleModel,
        TrustModel,
    )
    refs, definitions = models_json_schema(
        [(model, "validation") for model in models], by_alias=True
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "taskgate policy",
        "oneOf": [refs[(model, "validation")] for model in models],
        "$defs": definitions["$defs"],
    }
