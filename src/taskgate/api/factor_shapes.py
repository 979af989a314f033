"""JSON of second factors."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from taskgate.api.shapes import Asked, Shown

Label = Annotated[str, Field(max_length=100)]


class FactorShown(Shown):
    """`kind` is `app` or `passkey`; an app counts once it is `confirmed`."""

    id: str
    kind: str
    label: str
    added_at: float
    confirmed: bool
    last_used_at: float | None


class FactorsShown(Shown):
    """`demanded`: a password alone does not sign in."""

    factors: list[FactorShown]
    recovery_left: int
    demanded: bool


class EnrolAsked(Asked):
    label: Label = ""


class EnrolmentShown(Shown):
    """`secret` (base 32) and `uri` (for a QR code) are shown this once."""

    id: str
    secret: str
    uri: str


class ConfirmAsked(Asked):
    code: Annotated[SecretStr, Field(min_length=1, max_length=100)]


class RecoveryCodes(Shown):
    """Shown this once; empty where the user has codes already."""

    codes: list[str]


class FactorsReset(Shown):
    removed: int
