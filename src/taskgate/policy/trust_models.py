"""The form of a trust document: who signs, for whom, about what, and what it opens."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from taskgate.model import limits
from taskgate.policy.fields import Duration, Name, Strict, Words
from taskgate.policy.platforms import PLATFORMS
from taskgate.policy.trusts import (
    ClaimCondition,
    ClaimPath,
    Value,
    check_address,
    check_value,
    unpinned,
)
from taskgate.policy.units import spell_duration
from taskgate.policy.vocabulary import nearest

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
    platform: Literal["github-actions", "gitlab-ci", "buildkite", "kubernetes", "spiffe"] | None = (
        Field(
            default=None,
            description="Whose tokens these are, where it is one of these: then only claims that"
            " they hold may be asked for, and one must say whose job it is. Left out: any OpenID"
            " Connect issuer's.",
        )
    )
    issuer: Address | None = Field(
        default=None,
        description="The token's `iss`, exactly. Left out: the one that `platform` has for"
        " everybody (GitHub, GitLab.com, Buildkite).",
        examples=["https://..."],
    )
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
        self._ensure_of_the_platform()
        wide = unpinned(self.signer, self.platform or "", self.claims)
        if wide:
            raise ValueError(
                f"{self.signer} signs for everybody's jobs; claims must say whose, by one of"
                f" {', '.join(sorted(wide))}, without a star in the owner's part"
            )
        return self

    @property
    def signer(self) -> str:
        """The issuer, by whichever of the two it is named."""
        return self.issuer or PLATFORMS[self.platform or ""].issuer

    def _ensure_of_the_platform(self) -> None:
        known = PLATFORMS.get(self.platform or "")
        if self.issuer is None and (known is None or not known.issuer):
            raise ValueError("issuer is missing: there is none that is the same for everybody")
        for condition in self.claims if known is not None else ():
            name = condition.path[0]
            if known is not None and name not in known.claims:
                hint = nearest(name, known.claims)
                raise ValueError(
                    f"tokens of {self.platform} have no claim {name}{f'; {hint}' if hint else ''}"
                )
