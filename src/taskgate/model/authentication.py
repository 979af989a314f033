"""How and when somebody proved who they are, and what a task may ask of it.

The words are OpenID Connect's (Core 1.0 section 2), but nothing here belongs to one protocol: local
users, SAML and OpenID Connect all fill the same three.
"""

from dataclasses import dataclass
from typing import Final

MULTI_FACTOR: Final = "mfa"
# RFC 8176 section 2: what somebody knows, has, and is. Two kinds of them are two factors.
FACTORS: Final = (
    frozenset({"pwd", "pin", "kba"}),
    frozenset({"otp", "hwk", "swk", "sms", "tel", "sc"}),
    frozenset({"face", "fpt", "iris", "retina", "vbm"}),
)


@dataclass(frozen=True, slots=True)
class Authentication:
    """As whoever vouches for the person told it; what was not told is not there.

    `amr` are the methods, by RFC 8176's names (`pwd`, `otp`, `hwk`, `mfa` ...); `acr` is the class
    of the whole, in the words of whoever vouches; `auth_time` is when the person last proved
    themselves, in seconds since the epoch. A renewal without the person leaves all three alone.
    `session` is the session there that the sign-in rests on (`sid`, SAML's SessionIndex).
    """

    amr: frozenset[str] = frozenset()
    acr: str = ""
    auth_time: float | None = None
    session: str = ""

    @property
    def multi_factor(self) -> bool:
        """Whether `mfa` was told, or methods of two kinds."""
        return MULTI_FACTOR in self.amr or sum(bool(kind & self.amr) for kind in FACTORS) > 1


@dataclass(frozen=True, slots=True)
class SignInDemand:
    """What a task asks of how its holder signed in. Everything named must be met.

    `mfa`: by more than one factor. `within_s`: so many seconds ago at most. `acr`: one of these
    classes, the best liked first.
    """

    mfa: bool = False
    within_s: float | None = None
    acr: tuple[str, ...] = ()

    def unmet(self, shown: Authentication, now: float) -> tuple[str, ...]:
        """What is missing, in words for people; empty where nothing is. What was not told is
        missing."""
        missing: list[str] = []
        if self.mfa and not shown.multi_factor:
            missing.append("a second factor")
        if self.acr and shown.acr not in self.acr:
            missing.append(f"a sign-in of class {' or '.join(self.acr)}")
        if self.within_s is not None and (
            shown.auth_time is None or now - shown.auth_time > self.within_s
        ):
            missing.append(f"a sign-in within the last {spell_span(self.within_s)}")
        return tuple(missing)


def spell_span(seconds: float) -> str:
    """`15 minutes`, `90 seconds`: whole units, the largest that fits."""
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{seconds:g} seconds"
