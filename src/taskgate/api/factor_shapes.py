"""JSON of second factors."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


Label = Annotated[str, Field(max_length=100)]


class FactorShown(_Shown):
    """`kind` is `app` or `passkey`; an app counts once it is `confirmed`."""

    id: str
    kind: str
    label: str
    added_at: float
    confirmed: bool
    last_used_at: float | None


class FactorsShown(_Shown):
    """`demanded`: a password alone does not sign in."""

    factors: list[FactorShown]
    recovery_left: int
    demanded: bool


class EnrolAsked(_Asked):
    label: Label = ""


class EnrolmentShown(_Shown):
    """`secret` (base 32) and `uri` (for a QR code) are shown this once."""

    id: str
    secret: str
    uri: str


class ConfirmAsked(_Asked):
    code: Annotated[SecretStr, Field(min_length=1, max_length=100)]


class RecoveryCodes(_Shown):
    """Shown this once; empty where the user has codes already."""

    codes: list[str]


class FactorsReset(_Shown):
    removed: int
