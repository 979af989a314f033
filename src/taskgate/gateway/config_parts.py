"""The small pieces that every part of the configuration is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from taskgate.model.resource import SecretRef


class Section(BaseModel):
    """No unknown keys, no guessing of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Section)


def _beside(path: Path, info: ValidationInfo) -> Path:
    base: Path = (info.context or {}).get("base", Path.cwd())
    return (base / path.expanduser()).absolute()


# Strict mode takes no str for a Path; YAML has nothing else to offer.
ConfigPath = Annotated[Path, Field(strict=False), AfterValidator(_beside)]


class Reference(Section):
    """Where a secret is found; never the secret itself. Exactly one of the two is given."""

    env: str | None = None
    file: ConfigPath | None = None

    @model_validator(mode="after")
    def _one(self) -> Reference:
        if (self.env is None) == (self.file is None):
            raise ValueError("say either env: NAME or file: PATH")
        return self

    def ref(self) -> SecretRef:
        """The same in the model's own form."""
        if self.env is not None:
            return SecretRef("env", self.env)
        return SecretRef("file", str(self.file))


def apart(*names: str) -> Callable[[list[S]], list[S]]:
    """A validator: of a list of providers, each has these for itself."""

    def ensure(providers: list[S]) -> list[S]:
        for name in names:
            seen: set[str] = set()
            for one in providers:
                value: str = getattr(one, name)
                if value in seen:
                    raise ValueError(f"two providers have the {name} {value}")
                seen.add(value)
        return providers

    return ensure
