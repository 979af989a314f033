"""The small pieces that every part of the configuration is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
