"""The kinds of value that keys of policy files hold."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    WithJsonSchema,
)

from taskgate.policy.hours import parse_hours
from taskgate.policy.units import parse_duration, parse_size

_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"


def one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def no_repeats(words: list[str]) -> list[str]:
    seen: set[str] = set()
    for word in words:
        if not word.strip():
            raise ValueError("an empty text in the list")
        if word in seen:
            raise ValueError(f"{word} is listed twice")
        seen.add(word)
    if not words:
        raise ValueError("the list is empty; leave the key out")
    return words


def _exact_groups(words: list[str]) -> list[str]:
    for word in words:
        if "*" in word:
            raise ValueError(f"{word}: groups are named one by one, there are no patterns")
    return words


def _subjects(words: list[str]) -> list[str]:
    """Bare names are local users; anyone else is `issuer:subject`."""
    return no_repeats([word if ":" in word else f"local:{word}" for word in _exact_groups(words)])


def _hours(words: list[str]) -> list[str]:
    parse_hours(words)
    return words


_ONE_OR_MORE: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
    ]
}
_DURATION: dict[str, Any] = {"type": "string", "examples": ["30s", "15m", "1h30m", "2d"]}
_SIZE: dict[str, Any] = {"type": ["string", "integer"], "examples": ["200MB", "64MiB"]}

Name = Annotated[str, StringConstraints(pattern=_NAME)]
Words = Annotated[
    list[str],
    BeforeValidator(one_or_more),
    AfterValidator(no_repeats),
    WithJsonSchema(_ONE_OR_MORE),
]
Groups = Annotated[Words, AfterValidator(_exact_groups), WithJsonSchema(_ONE_OR_MORE)]
Subjects = Annotated[Words, AfterValidator(_subjects), WithJsonSchema(_ONE_OR_MORE)]
HourLines = Annotated[Words, AfterValidator(_hours), WithJsonSchema(_ONE_OR_MORE)]
Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION)]
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE)]


class Strict(BaseModel):
    """No unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)
