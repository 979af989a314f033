"""What is wrong with policy files, said as `file:line`, what, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from taskgate.model.errors import BadConfig
from taskgate.policy.document import Document, Path
from taskgate.policy.resource_models import SecretSource
from taskgate.policy.vocabulary import nearest

# Pydantic's words for a type, in the files' own.
_EXPECTED = {
    "string_type": "a text is expected here; put it in quotes",
    "int_type": "a whole number is expected here",
    "float_type": "a number is expected here",
    "bool_type": "true or false is expected here",
    "list_type": "a list is expected here: [one, two]",
    "dict_type": "keys and values are expected here",
    "missing": "is missing",
}


class PolicyErrors(BadConfig):
    """Everything found wrong in one set of files, in the order of the files."""

    def __init__(self, errors: Iterable[BadConfig]) -> None:
        self.errors = tuple(errors)
        super().__init__(
            "\n".join(said(error) for error in self.errors),
            hint="nothing was applied; correct the files and check them again",
        )


def said(error: BadConfig) -> str:
    """One error as a line: `file:line: what; hint`."""
    return f"{error.message}; {error.hint}" if error.hint else error.message


def problem(document: Document, path: Path, message: str, hint: str = "") -> BadConfig:
    """An error at a place of a document."""
    return BadConfig(message, where=document.where(path), hint=hint)


def problems_of(
    error: ValidationError, document: Document, model: type[BaseModel]
) -> list[BadConfig]:
    """Pydantic's findings, one for each place. Values are never repeated: one may be a secret."""
    found: dict[Path, BadConfig] = {}
    for entry in error.errors(include_url=False, include_input=False, include_context=False):
        path = _in_document(entry["loc"], document)
        found.setdefault(path, _problem(entry["type"], entry["msg"], path, document, model))
    return list(found.values())


def _problem(
    sort: str, message: str, path: Path, document: Document, model: type[BaseModel]
) -> BadConfig:
    key = spell_path(path)
    if sort == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        if _model_at(model, path[:-1]) is SecretSource:
            # Somebody's secret may stand where a key should.
            return problem(
                document,
                path,
                f"unknown key in {spell_path(path[:-1])}",
                f"known here: {', '.join(known)}",
            )
        return problem(document, path, f"unknown key {key}", nearest(str(path[-1]), known))
    if sort == "missing":
        return problem(document, path, f"{key} is missing")
    if sort == "model_type":
        known = _keys_at(model, path)
        return problem(document, path, f"{key}: keys and values are expected", _known(known))
    message = _EXPECTED.get(sort, message.removeprefix("Value error, "))
    if sort == "string_pattern_mismatch":
        message = "only a-z, 0-9, dot, dash and underscore, at most 63 characters"
        if path[-1:] == ("env",):
            message = "this is no name of an environment variable"
    what, _, hint = message.partition("; ")
    return problem(document, path, f"{key}: {what}" if path else what, hint)


def _known(keys: list[str]) -> str:
    return f"known here: {', '.join(keys)}" if keys else ""


def spell_path(path: Path) -> str:
    """`permit[0].select` for a path."""
    spelled = ""
    for part in path:
        spelled += f"[{part}]" if isinstance(part, int) else f".{part}"
    return spelled.removeprefix(".") or "the document"


def _in_document(loc: tuple[str | int, ...], document: Document) -> Path:
    """Pydantic's location without the names of union members, which stand in no document."""
    path: Path = ()
    value: Any = document.value
    for index, part in enumerate(loc):
        here = (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        )
        if here:
            value = value[part]
        elif not (isinstance(value, dict) and index == len(loc) - 1):
            continue
        path = (*path, part)
    return path


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    here: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, str) and here is not None:
            here = _model_in(_annotation(here, part))
    return here


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    here = _model_at(model, path)
    if here is None:
        return []
    return [field.alias or name for name, field in here.model_fields.items()]


def _annotation(model: type[BaseModel], key: str) -> Any:
    for name, field in model.model_fields.items():
        if (field.alias or name) == key:
            return field.annotation
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)
