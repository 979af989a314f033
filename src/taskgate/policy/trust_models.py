"""The form of a trust document: who signs, for whom, about what, and what it opens."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from taskgate.model import limits
from taskgate.policy.fields import Duration, Name, Strict, Words
from taskgate.policy.trusts import (
    ClaimCondition,
    ClaimPath,
    Value,
    check_address,
    check_value,
    shares_issuer,
)
from taskgate.policy.units import spell_duration

_MAX_DEPTH = 4
_CLAIMS: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "anyOf": [
            {"type": ["string", "integer", "boolean", "object"]},
            {"type": "array", "items": {"type": ["string", "integer", "boolean"]}, "minItems": 1},
        ]
    },
}


def _claims(value: object) -> tuple[ClaimCondition, ...]:
    if not isinstance(value, dict) or not value:
        raise ValueError("name at least one claim and its value; anybody of the issuer comes in")
    return tuple(_conditions(value, ()))


def _conditions(value: dict[str, Any], above: ClaimPath) -> list[ClaimCondition]:
    found: list[ClaimCondition] = []
    for name, inner in value.items():
        path = (*above, name)
        if not name or len(path) > _MAX_DEPTH:
            raise ValueError(f"{'.'.join(path)}: no claim can be there")
        if isinstance(inner, dict):
            if not inner:
                raise ValueError(f"{'.'.join(path)} asks for nothing")
            found.extend(_conditions(inner, path))
            continue
        values: list[Value] = inner if isinstance(inner, list) else [inner]
        if not values:
            raise ValueError(f"{'.'.join(path)}: the list is empty; leave the claim out")
        for one in values:
            if not isinstance(one, str | int | bool):
                raise ValueError(f"{'.'.join(path)}: a value is a text, a whole number or true")
            check_value(one)
        found.append(ClaimCondition(path, tuple(values)))
    return found


Address = Annotated[str, AfterValidator(check_address)]


class TrustModel(Strict):
    """Which workloads may take up which tasks, by tokens that their own platform signs."""

    kind: Literal["Trust"] = Field(description="`Trust`.")
    name: Name = Field(description="How records name it; its callers are `trust/NAME:SUBJECT`.")
    description: str = Field(default="", description="For people.")
    issuer: Address = Field(description="The token's `iss`, exactly.", examples=["https://..."])
    audience: Words = Field(description="What the token's `aud` must hold one of.")
    claims: Annotated[
        tuple[ClaimCondition, ...], BeforeValidator(_claims), WithJsonSchema(_CLAIMS)
    ] = Field(
        description="Every claim named must be (one of) what is given. `*` stands for characters"
        " other than `/` and `:`, `**` for any. Claims within claims are written so."
    )
    tasks: Words = Field(description="The tasks that may be taken up.")
    lasts: Duration = Field(default=600.0, description="How long a grant lives.", examples=["10m"])
    jwks_uri: Address | None = Field(
        default=None, description="Where the issuer's keys are, if it has no discovery document."
    )
    ca_file: str = Field(
        default="", description="PEM file of the authority behind the issuer's certificate."
    )

    @model_validator(mode="after")
    def _narrow(self) -> "TrustModel":
        if self.lasts > limits.MAX_WORKLOAD_GRANT_S:
            raise ValueError(f"lasts is at most {spell_duration(limits.MAX_WORKLOAD_GRANT_S)}")
        wide = shares_issuer(self.issuer, self.claims)
        if wide:
            raise ValueError(
                f"{self.issuer} signs for everybody's jobs; claims must say whose, by one of"
                f" {', '.join(sorted(wide))}, without a star in the owner's part"
            )
        return self
